"""Fewer rows while a question is being read and answered: methods that work inside the language model.

`method.py` holds the nouns and `registry.py` the names that a configuration may give; `fastv.py`, `holitom.py`,
`mustdrop.py` and `dycoke.py` each hold one method in our own words and code after its paper. `focus.py` is what one
question looks at, layer by layer: memory's shared keys are read and never written.
"""
