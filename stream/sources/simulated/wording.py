"""How questions are put and answers said. Wording varies in questions and never in answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import product

from stream.sources.simulated.kinds import COLOURS, KINDS, PLURALS, Colour, Fixture, Kind

NUMBERS = ("zero", "one", "two", "three", "four")
PLACES = ("on the left", "in the middle", "on the right")
WAYS = ("to the left", "to the right", "it is standing still")
NOTHING = "nothing"
UNSEEN = "not seen"  # what was asked about never showed
WHEN = "<|then|>"  # a moment that is pointed at, not spelled
DIGITS = tuple("0123456789")

# {a}: "a red car"; {the}: "the red car"; {kind}: "car"; {plural}: "cars"; {this} and {that}: two of {the};
# {thing}: "truck" or "red truck"; {clock}: "14:05"
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
    "number": (
        "What number is on the {thing}?",
        "Which number is on the {thing}?",
        "What is the number on the {thing}?",
        "What number does the {thing} have?",
    ),
    "door": ("Is the door open?", "Is the door open now?", "Is the door open at the moment?"),
    "light": ("Is the light on?", "Is the light on now?", "Is the lamp on?"),
    "carrying": ("What is {the} carrying?", "What is {the} carrying now?", "What does {the} carry?"),
    "leaving": (
        "Where will the {kind} leave?",
        "On which side will the {kind} leave?",
        "Where is the {kind} about to leave?",
    ),
    "past_number": (
        "What number was on the {thing}?",
        "Which number was on the {thing}?",
        "What was the number on the {thing}?",
        "What number did the {thing} have?",
    ),
    "who_left": ("Who left {the}?", "Who put {the} down?", "Who put down {the}?", "Which person left {the}?"),
    "last_colour": (
        "What colour was the last {kind}?",
        "Which colour was the last {kind}?",
        "What colour was the {kind} that was there last?",
        "What color was the last {kind}?",
    ),
    "last_seen": ("What was there before?", "What left last?", "What was the last thing that left?"),
    "when": (
        "When did {the} leave?",
        "At what time did {the} leave?",
        "When was {the} last there?",
        "When did you last see {the}?",
    ),
    "seen_at": ("Was there {a} at {clock}?", "Did you see {a} at {clock}?", "At {clock}, was there {a}?"),
    "colour_at": (
        "What colour was the {kind} at {clock}?",
        "Which colour was the {kind} at {clock}?",
        "At {clock}, what colour was the {kind}?",
        "What color was the {kind} at {clock}?",
    ),
    "count_at": (
        "How many different {plural} were there at {clock}?",
        "How many {plural} were there at {clock}?",
        "How many different {plural} did you see at {clock}?",
    ),
    "where_at": (
        "Where did {the} leave at {clock}?",
        "On which side did {the} leave at {clock}?",
        "Where did {the} go at {clock}?",
    ),
}
# `when`, asked about what has no colour.
FIXTURE_WHEN: dict[tuple[Fixture, bool], tuple[str, ...]] = {
    ("door", True): ("When did the door open last?", "When was the door last opened?", "When did the door last open?"),
    ("door", False): (
        "When did the door close last?",
        "When was the door last closed?",
        "When did the door last close?",
    ),
    ("light", True): ("When did the light go on last?", "When was the light last turned on?"),
    ("light", False): ("When did the light go off last?", "When was the light last turned off?"),
}


def article(colour: Colour | None, kind: Kind) -> str:
    """A thing as one names it first: "a red car", "an orange ball"; of any colour: "a car"."""
    name = _name(colour, kind)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def definite(colour: Colour | None, kind: Kind) -> str:
    """A thing as one names it again: "the red car", "the car"."""
    return f"the {_name(colour, kind)}"


def _name(colour: Colour | None, kind: Kind) -> str:
    return kind if colour is None else f"{colour} {kind}"


def listing(things: Sequence[tuple[Colour, Kind]]) -> str:
    """Things in a row: "a red car, a blue dog and an orange ball"; "nothing" for none."""
    names = [article(*thing) for thing in things]
    if not names:
        return NOTHING
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def digits(number: str) -> str:
    """A number as it is said, digit by digit: "4 7"."""
    return " ".join(number)


def leaving_side(side: str) -> str:
    """Where a thing leaves: "on the left"."""
    return f"on the {side}"


def clock(unix_s: float) -> str:
    """The minute of a moment, UTC: "14:05"."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%H:%M")


def corpus() -> list[str]:
    """Every question and every answer with at most one thing in it, each once: what a tokenizer must cover.

    Each time of day stands in one text; questions about a minute name one minute only.
    """
    texts = [*NUMBERS, *PLACES, *WAYS, *COLOURS, NOTHING, UNSEEN, WHEN, "yes", "no", *DIGITS]
    texts += ["a red car, a blue dog and an orange ball", *(digits(f"{n:02d}") for n in range(100))]
    texts += [phrase for phrases in FIXTURE_WHEN.values() for phrase in phrases]
    for kind, colour in product(KINDS, COLOURS):
        words = {"kind": kind, "plural": PLURALS[kind], "a": article(colour, kind), "the": definite(colour, kind)}
        words |= {"this": words["the"], "that": words["the"], "thing": f"{colour} {kind}", "clock": "14:05"}
        texts += [phrase.format(**words) for phrases in PHRASES.values() for phrase in phrases]
        texts += [words["a"], words["the"], article(None, kind), definite(None, kind)]
    texts += [phrase.format(thing="truck") for name in ("number", "past_number") for phrase in PHRASES[name]]
    texts += [f"at {hour:02d}:{minute:02d}" for hour in range(24) for minute in range(60)]
    return list(dict.fromkeys(texts))
