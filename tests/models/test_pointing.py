"""The words that name things are found, and so are the rows that show them; attention to them is what is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from models.checkpoint import BUNDLED, Checkpoint, open_checkpoint
from models.kv.spans import belongs
from models.prompt import Layout
from models.rows import MOTION_FEATURES, Rows
from models.training.attention import Note, packed_attention
from models.training.histories import History, Seen
from models.training.lessons import Teacher
from models.training.packing import Packed, Packer
from models.training.pointing import ASKED, Look, Pointer, Probe, fit_probe
from stream.sources.simulated.teacher import PictureTeacher, SimulatedTeacher

KINDS, COLOURS = list(SimulatedTeacher.kinds), list(SimulatedTeacher.colours)
DIM = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """An `Item` by hand."""

    mode: str
    text: str
    answer: str
    there: bool = True
    kind: str = ""
    time_s: float | None = None
    named: tuple[tuple[str, str | None], ...] = ()
    shown: tuple[tuple[str, str], ...] = ()
    evidence_span: tuple[float, float] = (0.0, 9.0)
    span: tuple[float, float] | None = None


@pytest.fixture(scope="module")
def bundled() -> Checkpoint:
    return open_checkpoint(BUNDLED)


@pytest.fixture(scope="module")
def probe() -> Probe:
    """Reads kind off the first columns and colour off the next ones."""
    made = Probe(DIM, {name: 1 + len(classes) for name, classes in SimulatedTeacher().labels.items()}).eval()
    with torch.no_grad():
        linear: Any
        for name, linear in made.maps.items():
            first = {"kind": 0, "colour": len(KINDS) + 1}.get(name, 100)
            linear.bias.zero_()
            linear.bias[0] = 0.0 if name in ("kind", "colour") else 9.0  # no other label is ever shown
            linear.weight.zero_()
            linear.weight[:, first : first + len(linear.weight)] = 20 * torch.eye(len(linear.weight))
    return made


def token(colour: str, kind: str) -> Tensor:
    found = torch.zeros(DIM)
    found[KINDS.index(kind) + 1 if kind else 0] = 1
    found[len(KINDS) + 1 + (COLOURS.index(colour) + 1 if colour else 0)] = 1
    return found


def rows(*things: tuple[str, str]) -> Rows:
    n = len(things)
    embeds = torch.stack([token(*thing) for thing in things])
    motion, none = torch.zeros(n, MOTION_FEATURES), torch.zeros(n, 0)
    return Rows(embeds, torch.ones(n), motion, none, torch.arange(n), (1, n), (0.0, 1.0), 1, float(n))


def laid_out(bundled: Checkpoint, *items: Asked) -> tuple[History, Packed]:
    """A past with a red car and a blue dog, and a present with a red dog."""
    past = rows(("", ""), ("red", "car")), rows(("blue", "dog"), ("", ""))
    history = History(
        [Seen((float(i), i + 1.0), block) for i, block in enumerate(past)],
        9.0,
        43_200.0,
        [rows(("", ""), ("red", "dog"))],
        cast("Any", items),
        [frozenset(i for i in (0, 1) if item.span is None or belongs((i, i + 1.0), item.span)) for item in items],
        ["" for _ in items],
    )
    layout = Layout(bundled.tokenizer, int(bundled.model.config.video_token_id))
    return history, Packer(layout, int(bundled.tokenizer.eos_token_id)).pack([history])


def unfused(history: History) -> Tensor:
    """All rows as they are."""
    return torch.cat([block.rows.embeds for block in history.blocks] + [frame.embeds for frame in history.instant])


def looked_at(look: Look) -> list[tuple[int, list[int]]]:
    """(row that looks, rows it is to look at) of each look."""
    return [
        (row, (w > 0.5).nonzero()[:, 0].tolist()) for (_, row), w in zip(look.at.tolist(), look.wanted, strict=True)
    ]


def test_each_name_looks_at_its_own_rows_in_its_own_time(bundled: Checkpoint, probe: Probe) -> None:
    items = (
        Asked("past", "Was there a red car before?", "yes"),
        Asked("past", "Have you seen a green ball?", "no", there=False),
        Asked("present", "How many dogs are there now?", "one"),
        Asked("past", "Which came first, the blue dog or the red car?", "the red car"),
        Asked("past", "Have you seen a purple person?", "yes"),  # true, but no row shows it: nothing to learn from
    )
    history, packed = laid_out(bundled, *items)
    first, second, now = packed.laid[0].rows
    joined, asked, fetched, said = Pointer(bundled, cast("Teacher", SimulatedTeacher()), probe).looks(
        [history], packed.laid, packed.ids.shape[1]
    )
    assert [to for _, to in looked_at(asked)] == [[first + 1], [0], [now + 1], [second], [first + 1]]
    assert [to for _, to in looked_at(said)] == [[first + 1]]
    assert [to for _, to in looked_at(joined)] == [[row - 1] for row, _ in looked_at(joined)]
    coloured = [row for i, (row, _) in enumerate(looked_at(asked)) if i != 2]
    assert [row for row, _ in looked_at(joined)][:-1] == coloured, "the last is the purple person's, found by nobody"
    words = bundled.tokenizer
    laid = packed.laid[0]
    begins = [start + len(question) - 1 for start, question in zip(laid.starts, laid.questions, strict=True)]
    assert [row for row, _ in looked_at(fetched)] == begins
    assert [len(to) for _, to in looked_at(fetched)] == [1, 1, 1, 2, 1], "each name once, two in the fourth"
    assert looked_at(fetched)[0][1] == [looked_at(asked)[0][0]]
    for index, (row, _) in zip((0, 1, 2, 3, 3), looked_at(asked), strict=True):
        ids = laid.questions[index]
        word = words.convert_ids_to_tokens([ids[row - laid.starts[index]]])[0]
        assert word.strip("Ġ") in (*KINDS, "dogs")
    (row, _), question = looked_at(said)[0], laid.questions[3]
    ids = (*question, *laid.answers[3])
    assert words.convert_ids_to_tokens([ids[row - laid.starts[3] + 1]])[0].strip("Ġ") == "red", "said next"


def test_what_tells_the_answer_is_looked_at_where_the_answer_begins(bundled: Checkpoint, probe: Probe) -> None:
    red_car = (("car", "red"),)
    items = (
        Asked("past", "What colour was the car?", "red", named=(("car", None),), shown=red_car),
        Asked("past", "Where did the red car go?", "on the left", shown=red_car, evidence_span=(1.5, 2.0)),  # later
        Asked("past", "What colour was the cat?", "not seen", there=False),
        Asked("past", "How many things were there?", "two", shown=(*red_car, ("dog", "blue"))),
        Asked("present", "What colour is the dog?", "red", shown=(("dog", "red"),)),
        Asked("past", "Where did the red car go?", "on the left", shown=red_car, evidence_span=(0.0, 0.9)),
    )
    history, packed = laid_out(bundled, *items)
    laid = packed.laid[0]
    first, second, now = laid.rows
    *_, said = Pointer(bundled, cast("Teacher", SimulatedTeacher()), probe).looks(
        [history], packed.laid, packed.ids.shape[1]
    )
    begins = [start + len(question) - 1 for start, question in zip(laid.starts, laid.questions, strict=True)]
    assert looked_at(said) == [
        (begins[0], [first + 1]),
        (begins[3], [first + 1, second]),
        (begins[4], [now + 1]),
        *((begins[5] + word, [first + 1]) for word in range(3)),  # the last of three words is the one that tells
    ]


def test_a_named_time_and_a_moment_are_looked_for_where_they_were(bundled: Checkpoint, probe: Probe) -> None:
    items = (
        Asked("past", "Was there a blue dog at 12:00?", "yes", span=(1.0, 2.0)),
        Asked("past", "When did the red car leave?", "<|then|>", time_s=0.8, named=(("car", "red"),)),
        Asked("past", "When did the door open last?", "<|then|>", time_s=1.5, named=(("door", None),)),
        Asked("past", "When did the red car leave?", "<|then|>", time_s=7.0, named=(("car", "red"),)),
    )
    history, packed = laid_out(bundled, *items)
    laid = packed.laid[0]
    first, second, _ = laid.rows
    _, asked, _, said = Pointer(bundled, cast("Teacher", SimulatedTeacher()), probe).looks(
        [history], packed.laid, packed.ids.shape[1]
    )
    assert [to for _, to in looked_at(asked)] == [[second], [first + 1], [first + 1]]
    moments = looked_at(said)
    assert [to for _, to in moments] == [[first + 1], [second, second + 1]], (
        "no row shows a door, and nothing shows 7.0"
    )
    last = laid.starts[1] + len(laid.questions[1]) - 1
    assert moments[0][0] == last, "the clock is read off where the question's last word looks"
    assert laid.hidden[0] == [laid.blocks[0], range(laid.blocks[1].stop, laid.context)]
    assert laid.positions[0] == laid.blocks[1].stop and laid.positions[1] == laid.context


def test_noted_attention_is_the_attention_that_was_paid(bundled: Checkpoint) -> None:
    items = (Asked("past", "Was there a red car before?", "yes"), Asked("present", "Is there a red dog?", "yes"))
    history, packed = laid_out(bundled, *items)
    model: Any = bundled.model.model
    language = model.language_model
    with torch.no_grad():
        embeds = packed.embed(language.embed_tokens, unfused(history), model.image_newline)
    row = packed.laid[0].starts[1] + 4
    note = Note(*ASKED, torch.tensor([[0, row]]), 1)
    with torch.no_grad(), packed_attention(language):
        out = language(
            inputs_embeds=embeds, position_ids=packed.positions, tails=packed.tails, notes=(note,)
        ).last_hidden_state
    assert note.log_shares is not None
    shares = note.log_shares.exp()[0]
    language.config._attn_implementation = "eager"
    try:
        mask = torch.full((1, 1, *[packed.ids.shape[1]] * 2), float("-inf")).triu(1)
        start, context = packed.laid[0].starts[1], packed.laid[0].context
        mask[..., start:, context:start] = float("-inf")  # the first question is not there for the second
        with torch.no_grad():
            plain = language(
                inputs_embeds=embeds,
                position_ids=packed.positions,
                attention_mask=mask,
                output_attentions=True,
            )
    finally:
        language.config._attn_implementation = "sdpa"
    torch.testing.assert_close(out, plain.last_hidden_state, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(shares, plain.attentions[ASKED[0]][0, ASKED[1], row], atol=1e-5, rtol=1e-4)
    assert float(shares[packed.laid[0].context : packed.laid[0].starts[1]].sum()) == 0.0


def test_a_probe_reads_what_the_tower_sees(bundled: Checkpoint) -> None:
    teacher = cast("Teacher", PictureTeacher())
    probe = fit_probe(bundled, teacher, pictures=120, seed=3)
    from models.training.grounding import look_at_cells

    tokens, labels = look_at_cells(bundled, teacher, 60, 11)
    found = probe(tokens)
    held = labels[:, 0] > 0
    for column, name in enumerate(("kind", "colour")):
        right = (found[name].argmax(1) == labels[:, column])[held]
        assert float(right.float().mean()) > 0.5, "guessing would give an eighth"
