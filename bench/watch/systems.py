"""Who is asked: the deployed memory, its floors, its oracle, and the variants that show what each part is worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC

from bench.watch.variants import Variant
from models.answerer import TextAnswerer
from models.backbone import Backbone
from models.checkpoint import Checkpoint
from models.memory import Memory, MemoryConfig, open_memory
from models.perception import Perception
from models.prompt import block_text
from stream.flow import Holdings, MediaEpoch, Question, Tokens
from stream.sources.simulated.quiz import Item

LONGWATCH, LAST_4, LAST_FRAME = "longwatch", "last 4", "last frame"
BLIND, ORACLE = "no picture", "oracle"
SYSTEMS = (LONGWATCH, LAST_4, LAST_FRAME, BLIND, ORACLE)
POLLED = (LONGWATCH, LAST_4, LAST_FRAME)  # once a second; the others would say what one of these says
# The floors: pictures in the prompt, and pictures shown: how things move in the first of four, those before it tell.
FLOORS = {LAST_4: (4, 7), LAST_FRAME: (1, 1)}
AROUND_S = 4.0  # of the evidence, on either side, that the oracle sees
MOST_EVIDENCE_S = 600.0  # longer evidence is all that there was: the oracle is then the memory itself
ANSWER_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer and what it cost."""

    text: str
    first_ms: float  # wall clock from the question to the first piece
    reach: int  # tokens it could attend to, the question's own included
    out_of_depth: bool = False  # the deployed agent would have said that instead


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """One live memory."""

    memory: Memory
    ungated: bool = False  # sees what the gate refuses too


@dataclass(frozen=True, slots=True)
class Look:
    """What one frame was to the memory: tokens, or (None) nothing new until then."""

    time_s: float
    tokens: Tokens | None


class Asker:
    """Puts questions to memories, one at a time or several at once."""

    def __init__(self, backbone: Backbone) -> None:
        # It answers where the agent would say that it is out of its depth: how true the words are is the question.
        self._answerer = TextAnswerer(backbone, out_of_depth="answer")

    def ask(self, memory: Memory, text: str, now_s: float, *, note: bool = False) -> Heard:
        """One answer; `note`: the memory may learn what it attended to, as it does when deployed."""
        started = time.perf_counter()
        view = memory.fork(_question(text, now_s))
        words, first_ms = list[str](), 0.0
        for piece in self._answerer.answer(view):
            first_ms = first_ms or (time.perf_counter() - started) * 1e3
            words.append(piece.text)
        if note:
            memory.used(view)
        usage, evidence = view.usage(), view.evidence()
        return Heard("".join(words).strip(), first_ms, usage.prompt_tokens, evidence.out_of_depth)

    def at_once(self, memory: Memory, texts: Sequence[str], now_s: float) -> list[str]:
        """Answers to several questions that are open together, a word of each in turn."""
        talks = [self._answerer.answer(memory.fork(_question(text, now_s))) for text in texts]
        said = [""] * len(talks)
        going = dict(enumerate(talks))
        while going:
            for number, talk in list(going.items()):
                piece = next(talk, None)
                if piece is None:
                    del going[number]
                else:
                    said[number] += piece.text
        return [words.strip() for words in said]


def _question(text: str, now_s: float) -> Question:
    return Question("bench", text, "sim", now_s, now_s + 60, max_tokens=ANSWER_TOKENS)


class Panel:
    """All systems on one stream. `see` every frame, `ask` at any time between two."""

    def __init__(self, checkpoint: Checkpoint, wall_s: float, *, half: bool = False) -> None:
        """`half`: the oracle's copy of what was seen is kept in half precision."""
        self._checkpoint, self._half = checkpoint, half
        self._backbone = Backbone(checkpoint)
        self._epoch = MediaEpoch(wall_s)
        self._config = MemoryConfig().with_recommended(checkpoint.card.memory)
        self.seats = {LONGWATCH: Seat(self._memory(self._config))}
        self._nothing = self._memory(self._config)
        self._looks: list[Look] = []
        self._blind: dict[str, Heard] = {}
        self._fresh: dict[tuple[str, float, float], Memory] = {}  # made for the questions of one moment
        self._fresh_s = float("-inf")
        self.asker = Asker(self._backbone)

    def _memory(self, config: MemoryConfig) -> Memory:
        return open_memory(self._backbone, self._checkpoint, config, self._epoch)

    def see(self, time_s: float, tokens: Tokens | None, *, admitted: bool) -> None:
        """One frame that the gate let pass, or did not; its tokens may be given all the same."""
        seen = tokens if admitted else None
        for seat in self.seats.values():
            _show(seat.memory, time_s, tokens if seat.ungated else seen)
        kept = replace(seen, embeds=seen.embeds.half()) if self._half and seen is not None else seen
        self._looks.append(Look(time_s, kept))

    def hold(self, time_s: float) -> None:
        """Nothing has changed until then."""
        for seat in self.seats.values():
            seat.memory.hold(time_s)
        self._looks.append(Look(time_s, None))

    def ask(self, item: Item, now_s: float, systems: Sequence[str]) -> dict[str, Heard]:
        """What each system says."""
        heard = {}
        for name in systems:
            if name in self.seats:
                heard[name] = self.asker.ask(self.seats[name].memory, item.text, now_s, note=True)
            elif name == BLIND:
                heard[name] = self._without_picture(item.text)
            elif name in FLOORS:
                heard[name] = self.asker.ask(self._recent(name, now_s), item.text, now_s)
            elif name == ORACLE:
                heard[name] = self._with_evidence(item, now_s) or heard[LONGWATCH]
        return heard

    @property
    def systems(self) -> Sequence[str]:
        """Who is asked ordinary questions."""
        return SYSTEMS

    @property
    def cells(self) -> int:
        """Tokens of one frame."""
        rows, columns = self._checkpoint.grid
        return rows * columns

    @property
    def words(self) -> int:
        """Tokens of the time stamp that leads a block: words, which memory counts beside the rows."""
        return len(self._backbone.layout().text_ids(block_text((0.0, 9.0), UTC)))

    def holdings(self) -> Holdings:
        """Of the deployed memory."""
        return self.seats[LONGWATCH].memory.holdings()

    def _without_picture(self, text: str) -> Heard:
        if text not in self._blind:
            self._blind[text] = self.asker.ask(self._nothing, text, 0.0)
        return self._blind[text]

    def _with_evidence(self, item: Item, now_s: float) -> Heard | None:
        """The answer of a memory that saw nothing but the evidence; None where the evidence is all there was."""
        start, end = item.evidence_span
        whole = (start, end) == (self._looks[0].time_s, now_s) or end - start > MOST_EVIDENCE_S
        if whole:
            return None
        first, last = start - AROUND_S, min(end + AROUND_S, now_s)
        memory = self._made((ORACLE, first, last), now_s, self._config, lambda: evidence(self._looks, first, last))
        return self.asker.ask(memory, item.text, now_s)

    def _recent(self, name: str, now_s: float) -> Memory:
        """A memory that saw the last few frames and nothing before."""
        shown, told = FLOORS[name]
        config = replace(self._config, hot_blocks=0, recall=False, instant_frames=shown)
        return self._made((name, 0.0, 0.0), now_s, config, lambda: recent(self._looks, told))

    def _made(
        self, key: tuple[str, float, float], now_s: float, config: MemoryConfig, looks: Callable[[], list[Look]]
    ) -> Memory:
        """A fresh memory that saw just these looks; kept while questions of the same moment are asked."""
        if now_s != self._fresh_s:
            self._fresh, self._fresh_s = {}, now_s
        if key not in self._fresh:
            self._fresh[key] = self._memory(config)
            for look in looks():
                _show(self._fresh[key], look.time_s, look.tokens)
        return self._fresh[key]


class Variants(Panel):
    """The deployed memory beside variants of it, without floors."""

    def __init__(self, checkpoint: Checkpoint, wall_s: float, variants: Mapping[str, Variant]) -> None:
        super().__init__(checkpoint, wall_s, half=True)
        self.seats = {name: Seat(self._variant(v), v.ungated) for name, v in variants.items()}

    @property
    def systems(self) -> Sequence[str]:
        """Every variant."""
        return tuple(self.seats)

    def _variant(self, v: Variant) -> Memory:
        checkpoint, config = self._checkpoint, replace(self._config, **v.config)
        settings = config.perception()

        def perception() -> Perception:
            return v.perception(settings, checkpoint.dim, checkpoint.grid)

        attention = v.attention(checkpoint.cross_dynamics)
        return Memory(self._backbone, attention, perception, config, self._epoch)

    def holdings(self) -> Holdings:
        """Of the first variant: the whole."""
        return next(iter(self.seats.values())).memory.holdings()


def evidence(looks: Sequence[Look], start_s: float, end_s: float) -> list[Look]:
    """The looks of a stretch of time, and the last picture before it where that still stood at its start."""
    inside = [look for look in looks if start_s <= look.time_s <= end_s]
    if inside and inside[0].tokens is None:
        before = [look for look in looks if look.time_s < start_s and look.tokens is not None]
        inside = before[-1:] + inside
    return inside


def recent(looks: Sequence[Look], count: int) -> list[Look]:
    """The last `count` pictures, and what was told since."""
    found = list[Look]()
    for look in reversed(looks):
        if look.tokens is not None or not found:
            found.append(look)
        if sum(one.tokens is not None for one in found) == count:
            break
    return found[::-1]


def _show(memory: Memory, time_s: float, tokens: Tokens | None) -> None:
    if tokens is None:
        memory.hold(time_s)
    else:
        memory.append(replace(tokens, embeds=tokens.embeds.float()))
