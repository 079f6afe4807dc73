"""The words that name things are found, and so are the rows that show them; attention to them is what is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from models.checkpoint import BUNDLED, Checkpoint, open_checkpoint
from models.prompt import Layout
from models.rows import MOTION_FEATURES, Rows
from models.training.attention import Note, packed_attention
from models.training.histories import History, Packed, pack
from models.training.lessons import Teacher
from models.training.pointing import ASKED, Looks, Pointer, Probe, fit_probe
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


@pytest.fixture(scope="module")
def bundled() -> Checkpoint:
    return open_checkpoint(BUNDLED)


@pytest.fixture(scope="module")
def probe() -> Probe:
    """Reads kind off the first columns and colour off the next ones."""
    made = Probe(DIM, len(KINDS), len(COLOURS)).eval()
    with torch.no_grad():
        for linear, first in ((made.kind, 0), (made.colour, len(KINDS) + 1)):
            linear.bias.zero_()
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
        [(f"[12:00:0{i}-12:00:0{i + 1}]", block) for i, block in enumerate(past)],
        "[now 12:00:09]",
        [rows(("", ""), ("red", "dog"))],
        cast("Any", items),
    )
    model: Any = bundled.model.model
    layout = Layout(bundled.tokenizer, int(bundled.model.config.video_token_id))
    fused = [[block.embeds for _, block in history.blocks] + [frame.embeds for frame in history.instant]]
    end_id = int(bundled.tokenizer.eos_token_id)
    with torch.no_grad():
        return history, pack(
            [history], fused, layout, model.language_model.embed_tokens, newline=model.image_newline, end_id=end_id
        )


def looked_at(looks: Looks) -> list[tuple[int, list[int]]]:
    """(row that looks, rows it is to look at) of each look."""
    note = looks.note()
    wanted = looks._wanted
    return [(row, (w > 0.5).nonzero()[:, 0].tolist()) for (_, row), w in zip(note.at.tolist(), wanted, strict=True)]


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
    joined, asked, said = Pointer(bundled, cast("Teacher", SimulatedTeacher()), probe).looks(
        [history], packed.laid, packed.embeds.shape[1]
    )
    assert [to for _, to in looked_at(asked)] == [[first + 1], [0], [now + 1], [second], [first + 1]]
    assert [to for _, to in looked_at(said)] == [[first + 1]]
    assert [to for _, to in looked_at(joined)] == [[row - 1] for row, _ in looked_at(joined)]
    coloured = [row for i, (row, _) in enumerate(looked_at(asked)) if i != 2]
    assert [row for row, _ in looked_at(joined)][:-1] == coloured, "the last is the purple person's, found by nobody"
    words = bundled.tokenizer
    laid = packed.laid[0]
    for index, (row, _) in zip((0, 1, 2, 3, 3), looked_at(asked), strict=True):
        ids = laid.questions[index]
        word = words.convert_ids_to_tokens([ids[row - laid.starts[index]]])[0]
        assert word.strip("Ġ") in (*KINDS, "dogs")
    (row, _), question = looked_at(said)[0], laid.questions[3]
    ids = (*question, *laid.answers[3])
    assert words.convert_ids_to_tokens([ids[row - laid.starts[3] + 1]])[0].strip("Ġ") == "red", "said next"


def test_noted_attention_is_the_attention_that_was_paid(bundled: Checkpoint) -> None:
    items = (Asked("past", "Was there a red car before?", "yes"), Asked("present", "Is there a red dog?", "yes"))
    _, packed = laid_out(bundled, *items)
    language: Any = bundled.model.model.language_model
    row = packed.laid[0].starts[1] + 4
    note = Note(*ASKED, torch.tensor([[0, row]]))
    with torch.no_grad(), packed_attention(language):
        out = language(
            inputs_embeds=packed.embeds, position_ids=packed.positions, tails=packed.tails, notes=(note,)
        ).last_hidden_state
    assert note.log_shares is not None
    shares = note.log_shares.exp()[0]
    language.config._attn_implementation = "eager"
    try:
        mask = torch.full((1, 1, *[packed.embeds.shape[1]] * 2), float("-inf")).triu(1)
        start, context = packed.laid[0].starts[1], packed.laid[0].context
        mask[..., start:, context:start] = float("-inf")  # the first question is not there for the second
        with torch.no_grad():
            plain = language(
                inputs_embeds=packed.embeds,
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
    kinds, colours = probe(tokens)
    held = labels[:, 0] > 0
    for found, wanted in ((kinds, labels[:, 0]), (colours, labels[:, 1])):
        assert float((found.argmax(1) == wanted)[held].float().mean()) > 0.5, "guessing would give a sixth or an eighth"
