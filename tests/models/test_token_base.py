"""The token base: online clustering that is exact, bounded and blind to how codes are numbered."""

import pytest
import torch
from torch.nn.functional import normalize

from models.token_base import TokenBase, codes_of

DIM = 24


def clouds(frames: int, cells: int = 12, kinds: int = 5, noise: float = 0.05, seed: int = 0) -> list[torch.Tensor]:
    """Frames of tokens scattered around a few directions; every frame shows them in another order."""
    torch.manual_seed(seed)
    centres = normalize(torch.randn(kinds, DIM), dim=1)
    return [centres[torch.randint(kinds, (cells,))] + noise * torch.randn(cells, DIM) for _ in range(frames)]


def base(codes: int = 16, spawn_below: float = 0.8, forgetting: float = 0.1) -> TokenBase:
    return TokenBase(codes, DIM, spawn_below, forgetting)


def ones(tokens: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(tokens))


def test_finds_as_many_codes_as_there_are_clouds() -> None:
    found = base()
    for tokens in clouds(30):
        found.assign(tokens, ones(tokens))
    assert int(found.alive.sum()) == 5


def test_centroid_is_the_forgetting_weighted_mean_of_its_members() -> None:
    found = base(forgetting=0.1)
    members: dict[int, list[tuple[int, torch.Tensor]]] = {}
    hits: dict[int, int] = {}
    for tokens in clouds(20):
        slots = found.assign(tokens, ones(tokens)).slots
        for slot in slots.unique().tolist():
            hits[slot] = hits.get(slot, 0) + 1
            for unit in normalize(tokens[slots == slot], dim=1):
                members.setdefault(slot, []).append((hits[slot], unit))
    for slot, seen in members.items():
        weights = torch.tensor([0.9 ** (hits[slot] - hit) for hit, _ in seen])
        expected = (torch.stack([unit for _, unit in seen]) * weights[:, None]).sum(0) / weights.sum()
        assert torch.allclose(found.sums[slot] / found.weights[slot], expected, atol=1e-5)


def test_ties_go_to_the_lowest_slot_and_runs_repeat_bit_for_bit() -> None:
    first, second = base(), base()
    for tokens in clouds(15):
        a, b = first.assign(tokens, ones(tokens)), second.assign(tokens, ones(tokens))
        assert torch.equal(a.slots, b.slots)
    assert torch.equal(first.units, second.units)
    tied = base(spawn_below=0.5)
    tied.assign(torch.eye(2, DIM), torch.ones(2))
    assert tied.assign((torch.eye(2, DIM).sum(0) / 2**0.5)[None], torch.ones(1)).slots.tolist() == [0]


def test_a_full_base_merges_its_closest_pair_and_never_names_it_again() -> None:
    found = base(codes=4, spawn_below=0.95)
    retired: set[int] = set()
    for tokens in clouds(12, kinds=9, noise=0.3):
        before = found.ids.clone()
        done = found.assign(tokens, ones(tokens))
        retired |= {int(before[gone]) for gone, _ in done.merged if int(before[gone]) >= 0}
        assert bool(found.alive[done.slots].all()), "a token was left with a dead code"
        assert not retired & set(found.ids.tolist())
    assert found.merges > 0
    assert int(found.alive.sum()) <= 4


def test_a_token_that_finds_no_room_is_told_its_true_error_and_takes_a_better_code_that_opens_later() -> None:
    found = base(codes=2, spawn_below=0.8)
    east, north, _, up = torch.eye(4, DIM)
    found.assign(torch.stack([east, north]), torch.ones(2))
    lost = 0.5 * east + up  # cosine 0.447 to east; the two codes are further apart than that
    done = found.assign(lost[None], torch.ones(1))
    assert done.slots.tolist() == [0] and not done.opened
    assert float(done.errors[0]) == pytest.approx(1 - 0.447, abs=1e-3)
    crowded = base(codes=2, spawn_below=0.8)
    crowded.assign(torch.stack([east, east + 1.2 * north]), torch.ones(2))  # cosine 0.64 to each other
    near = 0.9 * east + up  # 0.669 to east: no room for it, but for the next token there is
    done = crowded.assign(torch.stack([near, up]), torch.ones(2))
    assert done.opened == 1 and done.slots.tolist()[0] == done.slots.tolist()[1]
    assert float(done.errors[0]) == pytest.approx(1 - 1 / (1 + 0.81) ** 0.5, abs=1e-3)


def test_a_full_base_looks_for_its_closest_pair_only_when_codes_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = 0
    search = TokenBase._closest_pairs

    def counted(self: TokenBase) -> list[tuple[int, int, float]]:
        nonlocal searches
        searches += 1
        return search(self)

    monkeypatch.setattr(TokenBase, "_closest_pairs", counted)
    found = base(codes=4, spawn_below=0.99)
    found.assign(torch.eye(4, DIM), torch.ones(4))
    novelty = normalize(torch.eye(4, DIM).repeat(3, 1) + 0.3 * torch.eye(16, DIM)[4:], dim=1)
    done = found.assign(novelty, ones(novelty))
    assert not done.opened and searches == 1, "twelve tokens found no room, and nothing had changed between them"
    found.assign(novelty, ones(novelty))
    assert searches == 2  # the codes have moved


def test_the_closest_pair_is_what_a_loop_finds() -> None:
    found = base(codes=12, spawn_below=2.0)
    tokens = clouds(1, kinds=12, noise=0.4)[0]
    found.assign(tokens, ones(tokens))
    pairs = [(float(found.units[a] @ found.units[b]), a, b) for a in range(12) for b in range(a + 1, 12)]
    best, *pair = max(pairs)
    assert [*found._closest_pairs()[0]] == [*pair, pytest.approx(best, abs=1e-6)]


def test_memory_does_not_grow() -> None:
    found = base()
    size = found.bytes()
    for tokens in clouds(200, kinds=40, noise=0.4):
        found.assign(tokens, ones(tokens))
    assert found.bytes() == size


def test_state_goes_on_exactly() -> None:
    frames = clouds(20, kinds=9, noise=0.3)
    whole, half = base(codes=6), base(codes=6)
    for tokens in frames[:10]:
        whole.assign(tokens, ones(tokens))
        half.assign(tokens, ones(tokens))
    other = base(codes=6)
    other.load_state_dict({k: v.clone() for k, v in half.state_dict().items()})
    for tokens in frames[10:]:
        assert torch.equal(whole.assign(tokens, ones(tokens)).slots, other.assign(tokens, ones(tokens)).slots)
    assert torch.equal(whole.units, other.units)
    with pytest.raises(ValueError, match="token base"):
        base(codes=7).load_state_dict(half.state_dict())


@pytest.mark.parametrize("forgetting", [0.0, 0.5])
def test_mass_counts(forgetting: float) -> None:
    found = base(spawn_below=-1.0, forgetting=forgetting)
    a, b = torch.eye(2, DIM)
    found.assign(torch.stack([a, b]), torch.tensor([3.0, 1.0]))
    assert torch.allclose(found.sums[0] / found.weights[0], 0.75 * a + 0.25 * b, atol=1e-6)


def test_one_search_makes_room_for_codes_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of ever new looks on a full base: the dear search comes once in many codes, and bounds hold."""
    searches, search = 0, TokenBase._closest_pairs

    def counted(self: TokenBase) -> list[tuple[int, int, float]]:
        nonlocal searches
        searches += 1
        return search(self)

    monkeypatch.setattr(TokenBase, "_closest_pairs", counted)
    torch.manual_seed(0)
    found = TokenBase(256, 8, spawn_below=0.95, forgetting=0.05)
    opened = 0
    for _ in range(60):
        done = found.assign(torch.randn(40, 8), torch.ones(40))
        opened += done.opened
        assert bool(found.alive[done.slots].all())
    assert int(found.alive.sum()) <= 256 and found.merges == opened - int(found.alive.sum())
    assert found.merges > 256, "the base was renewed more than once"
    assert searches < found.merges / 4, f"{searches} searches for {found.merges} merges"


def test_close_pairs_share_no_code_and_come_closest_first() -> None:
    torch.manual_seed(1)
    found = TokenBase(64, 16, spawn_below=0.5, forgetting=0.05)
    found.units = torch.nn.functional.normalize(torch.randn(64, 16), dim=1)
    pairs = found._closest_pairs()
    assert len(pairs) == 2
    assert len({slot for kept, gone, _ in pairs for slot in (kept, gone)}) == 4
    assert all(kept < gone for kept, gone, _ in pairs) and pairs[0][2] >= pairs[1][2]


def test_codes_that_nothing_goes_to_are_retired_and_their_slots_used_again() -> None:
    found = base(codes=4, spawn_below=0.9)
    a, b, c = torch.eye(DIM)[:3]
    found.assign(torch.stack([a, b]), torch.ones(2))
    for _ in range(3):
        found.assign(a[None], torch.ones(1))
    assert not len(found.retire(4)) and found.retire(3).tolist() == [1]
    assert found.alive.tolist() == [True, False, False, False] and found.ids[1] == -1
    again = found.assign(torch.stack([a, c]), torch.ones(2))
    assert again.slots.tolist() == [0, 1] and found.ids.tolist()[:2] == [0, 2], "an id never comes back"
    twin = base(codes=4, spawn_below=0.9)
    twin.load_state_dict(found.state_dict())
    assert twin.retire(1).tolist() == found.retire(1).tolist() == []
    found.assign(a[None], torch.ones(1))
    assert found.retire(1).tolist() == [1], "of a frame ago"


def test_a_merged_code_is_as_fresh_as_the_fresher_of_the_two() -> None:
    found = base(codes=2, spawn_below=0.99)
    a, b = torch.eye(DIM)[:2]
    near = a + 0.3 * b
    found.assign(torch.stack([a, near]), torch.ones(2))
    found.assign(near[None], torch.ones(1))
    merged = found.assign(-b[None], torch.ones(1)).merged
    assert merged == ((1, 0),) and not len(found.retire(2))


def test_codes_of_their_own_follow_a_thing_through_a_few_frames() -> None:
    a, b, c = torch.eye(DIM)[:3]
    slots, errors = codes_of([torch.stack([a, b]), torch.stack([c, a])], base(spawn_below=0.9))
    assert slots.tolist() == [[0, 1], [2, 0]] and float(errors.max()) < 1e-6
    crowded, _ = codes_of([torch.stack([a, b]), torch.stack([c, a])], base(codes=2, spawn_below=0.9))
    assert crowded.shape == (2, 2) and int(crowded.max()) < 2
