"""The quiz: answers follow from what was seen, from nothing later, and guessing does not pay."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from stream.sources.simulated.balance import Balance, Candidate
from stream.sources.simulated.history import History, Sample, Track
from stream.sources.simulated.kinds import COLOURS, KINDS, PLURALS, SCENES, Colour, Kind
from stream.sources.simulated.quiz import KINDS_ASKED, MODES, Item, ask
from stream.sources.simulated.view import GONE_S
from stream.sources.simulated.wording import NUMBERS, UNSEEN, corpus, listing
from stream.sources.simulated.world import Script
from tests.stream.simulated.tracks import answers, everything, history, track, unseen

SIZE = 300


# A red car crossed to the right and left at 10 s, a blue dog to the left at 30 s; a white ball lies on the left now.
GONE = (track("car", "red", (4, 10), (0.05, 0.95)), track("dog", "blue", (20, 30), (0.95, 0.05)))
BALL = track("ball", "white", (40, 60), (0.2, 0.2))
YARD = history(*GONE, BALL)


def test_present_questions_are_about_the_last_look() -> None:
    assert set(answers(YARD, "what").values()) == {"a white ball"}
    assert set(answers(YARD, "colour").values()) == {"white"}
    assert set(answers(YARD, "where").values()) == {"on the left"}
    assert set(answers(YARD, "moving").values()) == {"it is standing still"}
    for text, answer in answers(YARD, "count").items():
        assert answer == ("one" if "balls" in text else "zero")
    for text, answer in answers(YARD, "exists").items():
        assert answer == ("yes" if re.search("(white|a) ball", text) else "no")


def test_past_questions_are_about_what_is_gone() -> None:
    seen = answers(YARD, "seen")
    assert any("red car" in t for t in seen) and any("blue dog" in t for t in seen)
    for text, answer in seen.items():
        assert answer == ("yes" if re.search("(red|a) car|(blue|a) dog", text) else "no"), text
        assert "white ball" not in text and "a ball" not in text
    assert {("car" in t, a) for t, a in answers(YARD, "past_colour").items()} == {(True, "red"), (False, "blue")}
    order = answers(YARD, "order")
    assert set(order.values()) == {"the red car"}
    assert {t.index("red car") < t.index("blue dog") for t in order} == {True, False}
    for text, answer in answers(YARD, "past_where").items():
        assert answer == ("on the right" if "car" in text else "on the left")
    for text, answer in answers(YARD, "past_count").items():
        assert answer == ("one" if "cars" in text or "dogs" in text else "zero"), text
        assert "balls" not in text  # one is still there
    assert set(answers(YARD, "last_seen").values()) == {"a blue dog"}
    times = {i.text: i.time_s for i in everything(YARD, "when") if i.there}
    assert {("car" in t, s) for t, s in times.items()} == {(True, 10.0), (False, 30.0)}


def test_several_things_are_listed_from_left_to_right() -> None:
    things = (
        track("dog", "orange", (50, 60), (0.8, 0.8)),
        track("car", "red", (50, 60), (-0.3, 0.3)),
        track("person", "blue", (50, 60), (0.5, 0.5)),
    )
    assert set(answers(history(*things), "what").values()) == {"a red car, a blue person and an orange dog"}
    assert set(answers(history(things[1]), "moving").values()) == {"to the right"}
    assert set(answers(history(), "what").values()) == {"nothing"}


def test_what_left_last_is_what_nothing_left_after() -> None:
    assert set(answers(history(), "last_seen").values()) == {"nothing"}
    assert set(answers(YARD.until(18.0), "last_seen").values()) == {"a red car"}
    assert answers(YARD.until(33.0), "last_seen") == {}, "the dog is hardly gone"
    again = track("dog", "blue", (50, 60), (0.5, 0.5))
    assert answers(history(*GONE, again), "last_seen") == {}, "it was there before and is there now"
    close = track("cat", "white", (21, 29), (0.95, 0.05))
    assert answers(history(*GONE, close), "last_seen") == {}, "which of the two left last is hard to say"


def test_what_is_unclear_is_not_asked() -> None:
    half = track("car", "red", (50, 60), (0.5, 0.5), shown=0.4)
    for item in (i for kind in MODES for i in everything(history(half, BALL), kind, 20)):
        assert "red car" not in item.text
        assert "car" not in item.text or not item.there  # there was truly no car of another colour
        assert item.answer != UNSEEN or ("car", None) not in item.named  # but there was some car
    assert everything(history(half), "what", 20) == []
    twins = (track("car", "red", (50, 60), (0.2, 0.2)), track("car", "blue", (50, 60), (0.8, 0.8)))
    assert answers(history(*twins), "colour") == answers(history(*twins), "where") == {}
    assert ("car", None) not in unseen(history(*twins), "colour")
    close = (track("ball", "red", (50, 60), (0.5, 0.5)), track("dog", "blue", (50, 60), (0.53, 0.53)))
    assert everything(history(*close), "what", 20) == []
    again = (track("car", "red", (4, 10), (0.05, 0.95)), track("car", "red", (20, 26), (0.05, 0.95)))
    assert not any("cars" in i.text for i in everything(history(*again), "past_count", 20))  # one or two?
    assert answers(history(*again), "past_where") == answers(history(*again), "order") == {}


def test_a_glimpse_is_neither_a_sighting_nor_an_absence() -> None:
    glimpse = Track("car", "red", (Sample(10, 0.02, 0.5, -0.2, 0.9), Sample(10.5, 0.01, 0.5, -0.2, 0.3)))
    for text in answers(history(glimpse), "seen"):
        assert "red car" not in text


def test_only_what_is_long_gone_is_past() -> None:
    late = track("car", "red", (50, 60 - GONE_S + 0.5), (0.05, 0.95))
    for kind in ("past_colour", "past_where", "order"):
        assert answers(history(late), kind) == {}
        assert ("car", "red") not in unseen(history(late), kind)
    assert not any("red car" in t for t in answers(history(late), "seen"))
    assert not any("cars" in t for t in answers(history(late), "past_count"))
    for kind in (k for k, mode in MODES.items() if mode == "past"):
        assert all(i.lag_s >= GONE_S for i in everything(YARD, kind, 20))


def test_nothing_later_than_now_is_looked_at() -> None:
    for now in (2.0, 15.0, 35.0, 47.3):
        cut = YARD.until(now)
        never = history(*(t for t in (*GONE, BALL) if t.enter_s <= now), end_s=60.0).until(now)
        for kind in KINDS_ASKED:
            assert everything(cut, kind, 15) == everything(never, kind, 15)
    before = answers(YARD.until(15.0), "seen")
    assert all(("red car" in t) == (a == "yes") for t, a in before.items())


def test_histories_can_be_laid_end_to_end() -> None:
    first, second = history(GONE[0], end_s=20.0), history(BALL.__class__("ball", "white", BALL.samples), end_s=60.0)
    joined = History.concat([first, second], gap_s=5.0)
    assert joined.now_s == 85.0
    assert joined.start_s == 0.0
    assert set(answers(joined, "past_colour").values()) == {"red"}
    assert set(answers(joined, "what").values()) == {"a white ball"}
    assert joined.moved(100.0).now_s == 185.0
    assert set(answers(joined.moved(100.0), "past_where").values()) == {"on the right"}
    # What a cut took away did not leave by an edge.
    cut = History.concat([history(track("dog", "blue", (0, 20), (0.0, 0.5)), end_s=20.0), history()])
    assert answers(cut, "past_where") == {}
    assert ("dog", "blue") not in unseen(cut, "past_where")
    texts = list(answers(cut, "past_colour"))
    assert texts and not any("left" in t for t in texts)


def derived(item: Item, script: Script, t0: float, now: float) -> str | None:
    """The answer once more, from the truth at each look and by the words of the question alone."""
    looks = [(t, _clear(script, t)) for t in np.arange(t0, now + 1e-6, 0.5)]
    last = looks[-1][1]
    kind = next((k for k in KINDS if re.search(rf"\b({k}|{PLURALS[k]})\b", item.text)), None)
    colour = next((c for c in COLOURS if c in item.text), None)
    here = [s for s in last if s[0] == kind]
    ever = {(s[0], s[1]) for _, look in looks for s in look}
    match item.kind:
        case "what":
            return listing([(c, k) for k, c, _ in sorted(last, key=lambda s: s[2])])
        case "colour":
            return here[0][1] if here else UNSEEN
        case "count":
            return NUMBERS[len(here)]
        case "exists":
            return "yes" if any(colour in {None, c} for _, c, _ in here) else "no"
        case "where":
            return ("on the left", "in the middle", "on the right")[int(here[0][2] * 3)]
        case "seen":
            return "yes" if any(k == kind and colour in {None, c} for k, c in ever) else "no"
        case "past_colour":
            return next((c for k, c in ever if k == kind), UNSEEN)
        case "past_count":
            return NUMBERS[len({c for k, c in ever if k == kind})]
        case "order":
            named = re.findall(rf"the ({'|'.join(COLOURS)}) ({'|'.join(KINDS)})", item.text)
            came = {(c, k): next(t for t, look in looks if any(s[:2] == (k, c) for s in look)) for c, k in named}
            c, k = min(came, key=lambda n: came[n])
            return f"the {c} {k}"
    return None


SIMPLE = ("what", "colour", "count", "exists", "where", "seen", "past_colour", "past_count", "order")


@cache
def _clear(script: Script, t: float) -> list[tuple[Kind, Colour, float]]:
    from stream.sources.simulated.truth import visible

    return [(s.kind, s.colour, s.x) for s in visible(script, float(t), least=0.6)]


def test_answers_agree_with_a_second_derivation_from_the_script() -> None:
    checked: Counter[str] = Counter()
    for seed in range(40):
        script, t0 = Script(seed, SCENES[seed % 5], pan=0.1 * (seed % 2)), float(seed * 10)
        now = t0 + 30 + seed
        history = History.from_script(script, t0, now)
        for item in ask(history, np.random.default_rng(seed), 10, SIMPLE):
            answer = derived(item, script, t0, now)
            if answer is not None:
                assert answer == item.answer, item
                checked[item.kind] += 1
    assert set(checked) == set(SIMPLE)
    assert sum(checked.values()) > 120


@pytest.fixture(scope="module")
def many() -> list[Item]:
    """The questions of 300 histories, kept even by one balance."""
    balance = Balance()
    return [item for seed in range(SIZE) for item in asked(seed, balance, 16, KINDS_ASKED)]


def asked(seed: int, balance: Balance, count: int, kinds: Sequence[str]) -> list[Item]:
    """Questions about one to three stretches of half a minute."""
    rng, parts = np.random.default_rng(seed), []
    for k in range(1 + seed % 3):
        start, script = float(rng.uniform(0, 300)), Script(seed % 50 + k, SCENES[seed // 3 % 5])
        parts.append(History.from_script(script, start, start + 30.0, 1.0, ahead_s=6.0))
    return ask(History.concat(parts), rng, count, kinds, balance, wall_s=1e9 + 1e4 * seed)


def test_answers_are_even(many: list[Item]) -> None:
    by_kind: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in many:
        by_kind[item.kind][item.answer] += 1
    share = {kind: max(c.values()) / sum(c.values()) for kind, c in by_kind.items()}
    assert set(by_kind) == set(KINDS_ASKED)
    assert all(sum(c.values()) > 20 for c in by_kind.values())
    assert max(share[k] for k in ("seen", "exists", "seen_at", "door", "light", "leaving")) < 0.65
    assert max(share["past_where"], share["where_at"]) < 0.5
    assert max(share[k] for k in ("colour", "past_colour", "last_colour", "colour_at")) < 0.28
    assert max(share[k] for k in ("number", "past_number", "who_left", "carrying", "last_seen")) < 0.35
    assert max(share["where"], share["moving"]) < 0.45
    assert share["what"] < 0.45
    assert share["count"] < 0.6
    assert max(share["past_count"], share["count_at"]) < 0.45


def test_one_in_five_was_not_there_where_that_can_be_asked(many: list[Item]) -> None:
    kinds = {i.kind for i in many if i.answer == UNSEEN}
    assert kinds == {
        *("colour", "number", "past_colour", "past_number", "past_where"),
        *("who_left", "when", "colour_at", "where_at"),
    }
    for kind in kinds:
        mine = [i for i in many if i.kind == kind]
        assert 0.12 < sum(i.answer == UNSEEN for i in mine) / len(mine) < 0.3, kind
        assert all(i.there == (i.answer != UNSEEN) for i in mine)
        assert all(bool(i.shown) == i.there or i.named[0][0] in {"door", "light"} for i in mine)


def test_the_first_named_is_not_the_answer_more_often(many: list[Item]) -> None:
    order = [i for i in many if i.kind == "order"]
    first = sum(i.text.index(i.answer) < len(i.text) / 2 for i in order)
    assert 0.4 < first / len(order) < 0.6


def test_naming_a_kind_or_a_colour_gives_nothing_away() -> None:
    told: defaultdict[str, Counter[str]] = defaultdict(Counter)
    balance = Balance()
    for item in (i for seed in range(SIZE) for i in asked(seed, balance, 4, ("seen",))):
        for word in re.findall(r"\w+", item.text):
            told[word][item.answer] += 1
    assert all(0.3 < told[k]["yes"] / sum(told[k].values()) < 0.7 for k in KINDS)
    assert all(0.3 < told[c]["yes"] / sum(told[c].values()) < 0.7 for c in COLOURS)


def test_half_of_the_noes_are_near_misses() -> None:
    """A history with red cars only: "a blue car?" is asked about as often as "a blue dog?"."""
    balance, noes = Balance(), []
    for k in range(300):
        noes += [
            i.text for i in ask(history(GONE[0]), np.random.default_rng(k), 2, ("seen",), balance) if i.answer == "no"
        ]
    coloured = [text for text in noes if any(c in text for c in COLOURS)]
    near = sum("car" in text for text in coloured)
    assert len(coloured) > 40
    assert 0.3 < near / len(coloured) < 0.7


def test_texts_use_only_words_of_the_corpus(many: list[Item]) -> None:
    words = {w for text in corpus() for w in re.findall(r"\w+|\S", text)}
    for item in many:
        assert set(re.findall(r"\w+|\S", f"{item.text} {item.answer}")) <= words
        assert item.mode == MODES[item.kind]
        assert item.evidence_span[0] <= item.evidence_span[1]


def test_the_same_seed_asks_the_same() -> None:
    h = History.from_script(Script(5, "yard"), 0, 90)
    assert ask(h, np.random.default_rng(1)) == ask(h, np.random.default_rng(1)) != ask(h, np.random.default_rng(2))
    texts = [i.text for i in ask(h, np.random.default_rng(1), 20)]
    assert len(set(texts)) == len(texts) <= 20


def test_a_balance_evens_out_what_is_easy_and_stays_bounded() -> None:
    balance, rng, given = Balance(), np.random.default_rng(0), Counter[str]()
    yes, no = (Candidate("car", a, a, {}, (0, 0), 0) for a in ("yes", "no"))
    for _ in range(4000):
        offered = [yes, no] if rng.random() < 0.2 else [no]
        chosen = balance.choose("exists", offered, rng)
        if chosen:
            given[chosen.drawer] += 1
    assert given["yes"] > 500  # whenever it could
    assert given["no"] < 2.2 * given["yes"]  # though offered five times as often
    assert len(balance._asked) == 1
    assert sum(next(iter(balance._asked.values())).values()) <= 513
