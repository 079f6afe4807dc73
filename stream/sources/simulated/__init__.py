"""A simulated camera whose truth is known: it is scripted, painted, labelled and quizzed from one seed."""
