"""How questions are put and answers said. Wording varies in questions and never in answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from stream.sources.simulated.kinds import COLOURS, KINDS, PLURALS, Colour, Kind

NUMBERS = ("zero", "one", "two", "three", "four")
PLACES = ("on the left", "in the middle", "on the right")
WAYS = ("to the left", "to the right", "it is standing still")
NOTHING = "nothing"

# {a}: "a red car"; {the}: "the red car"; {kind}: "car"; {plural}: "cars"; {this} and {that}: two of {the}
PHRASES: dict[str, tuple[str, ...]] = {
    "what": ("What is there now?", "What can you see now?", "What is in the picture?", "What do you see?"),
    "colour": (
        "What colour is the {kind}?",
        "What colour is the {kind} now?",
        "Which colour is the {kind}?",
        "What color is the {kind}?",
    ),
    "count": (
        "How many {plural} are there now?",
        "How many {plural} are there?",
        "How many {plural} can you see?",
        "How many {plural} do you see now?",
    ),
    "where": ("Where is the {kind}?", "Where is the {kind} now?", "On which side is the {kind}?"),
    "moving": (
        "Which way is the {kind} moving?",
        "Where is the {kind} going?",
        "In which direction is the {kind} moving?",
        "Is the {kind} moving, and which way?",
    ),
    "exists": ("Is there {a} now?", "Is there {a}?", "Can you see {a}?", "Do you see {a} now?"),
    "seen": (
        "Was there {a} before?",
        "Has there been {a}?",
        "Did you see {a} before?",
        "Have you seen {a}?",
    ),
    "past_colour": (
        "What colour was the {kind} that left?",
        "Which colour was the {kind} that left?",
        "What colour was the {kind}?",
        "What color was the {kind} before?",
    ),
    "order": (
        "Which came first, {this} or {that}?",
        "What came first, {this} or {that}?",
        "Which did you see first, {this} or {that}?",
    ),
    "past_count": (
        "How many different {plural} have there been?",
        "How many different {plural} did you see?",
        "How many {plural} have there been so far?",
    ),
    "past_where": (
        "Where did {the} leave?",
        "On which side did {the} leave?",
        "Where did {the} go?",
    ),
    "when": ("When did {the} leave?", "At what time did {the} leave?"),
}


def article(colour: Colour, kind: Kind) -> str:
    """A thing as one names it first: "a red car", "an orange ball"."""
    return f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {kind}"


def definite(colour: Colour, kind: Kind) -> str:
    """A thing as one names it again: "the red car"."""
    return f"the {colour} {kind}"


def listing(things: Sequence[tuple[Colour, Kind]]) -> str:
    """Things in a row: "a red car, a blue dog and an orange ball"; "nothing" for none."""
    names = [article(*thing) for thing in things]
    if not names:
        return NOTHING
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def corpus() -> list[str]:
    """Every question and every answer with at most one thing in it, each once: what a tokenizer must cover."""
    texts = [*NUMBERS, *PLACES, *WAYS, *COLOURS, NOTHING, "yes", "no", "a red car, a blue dog and an orange ball"]
    for kind, colour in product(KINDS, COLOURS):
        words = {"kind": kind, "plural": PLURALS[kind], "a": article(colour, kind), "the": definite(colour, kind)}
        words |= {"this": words["the"], "that": words["the"]}
        texts += [phrase.format(**words) for phrases in PHRASES.values() for phrase in phrases]
        texts += [words["a"], words["the"]]
    return list(dict.fromkeys(texts))
