"""The runner of reference cases: what is far apart fails, and what could not be compared is never called equal."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import run_stream
from bench.parity import case as measures
from bench.parity import command, door, outcome, registry
from bench.parity.case import Case, Difference
from stream.cli.console import Trouble
from tests.bench.parity.files import VECTORS

META = json.dumps({"method": "tome", "case": "made"})


def write(path: Path, meta: str = META, **arrays: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, meta_json=np.array(meta), **arrays)  # type: ignore[arg-type]
    return path


def run(*argv: str) -> tuple[int, list[str]]:
    said = list[str]()
    return command.main(argv, said.append), said


@pytest.fixture
def adapter(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A method of this test alone: its reference is twice its input, or a float array of hidden states."""
    import sys

    made = ModuleType("bench.parity.twice")

    def check(case: Case) -> list[Difference]:
        if "x" not in case.arrays:
            raise ValueError(f"{case.name} has no x; only doubling is known.")
        x = case.tensor("x")
        return [
            measures.indices("order", x.argsort(), case.tensor("order")),
            measures.tokens("doubled", 2 * x, case.tensor("doubled")),
            measures.hidden("again", 2 * x, case.tensor("doubled")),
        ]

    vars(made)["check"] = check
    monkeypatch.setitem(sys.modules, "bench.parity.twice", made)
    monkeypatch.setitem(registry.ADAPTERS, "twice", "bench.parity.twice")
    return made


def twice(folder: Path, name: str, off: float = 0.0, swap: int = 0) -> Path:
    x = np.array([0.5, -1.0, 3.0])
    order = np.array([1, 0, 2])
    order[:swap] = order[:swap][::-1]
    return write(folder / "twice" / f"case_{name}.npz", x=x, order=order, doubled=2 * x + off)


# What is far apart.


@pytest.mark.usefixtures("adapter")
def test_equal_cases_pass_and_say_how_far_apart_they_are(tmp_path: Path) -> None:
    twice(tmp_path, "exact")
    twice(tmp_path, "near", off=4e-6)
    code, said = run("--vectors", str(tmp_path), "--out", str(tmp_path / "new" / "out.json"))
    assert code == 0
    assert said[1].split()[:5] == ["twice/exact", "0", "0.0e+00", "0.0e+00", "ok"]
    assert said[2].split() == ["twice/near", "0", "4.0e-06", "4.0e-06", "ok", "doubled"]
    assert said[-1] == "2 cases: 2 ok, 0 FAILED, 0 unknown"
    told = json.loads((tmp_path / "new" / "out.json").read_text())
    assert told["counts"] == {"ok": 2}
    assert [d["group"] for d in told["cases"][1]["differences"]] == ["indices", "tokens", "hidden"]
    assert told["cases"][1]["differences"][1]["largest"] == pytest.approx(4e-6)


@pytest.mark.usefixtures("adapter")
@pytest.mark.parametrize(
    ("off", "swap", "words"),
    [(2e-5, 0, "doubled differs by 2e-05, 1e-05 is allowed"), (0.0, 2, "order differs by 2, 0 is allowed")],
)
def test_a_difference_fails_the_run(tmp_path: Path, off: float, swap: int, words: str) -> None:
    twice(tmp_path, "fine")
    twice(tmp_path, "off", off, swap)
    code, said = run("--vectors", str(tmp_path))
    assert code == 1
    assert "FAILED" in said[2] and words in said[2]
    assert said[-1] == "2 cases: 1 ok, 1 FAILED, 0 unknown"


@pytest.mark.usefixtures("adapter")
def test_other_shapes_and_nan_are_no_small_differences(tmp_path: Path) -> None:
    x = np.array([0.5, -1.0, 3.0])
    write(tmp_path / "twice" / "nan.npz", x=x, order=np.array([1, 0, 2]), doubled=2 * x + np.array([0, np.nan, 0]))
    write(tmp_path / "twice" / "shape.npz", x=x, order=np.array([1, 0]), doubled=2 * x)
    code, said = run("--vectors", str(tmp_path), "--out", str(tmp_path / "out.json"))
    assert code == 1 and said[-1] == "2 cases: 0 ok, 2 FAILED, 0 unknown"
    told = json.loads((tmp_path / "out.json").read_text())
    assert [d["fine"] for d in told["cases"][0]["differences"]] == [True, False, False]
    assert told["cases"][1]["differences"][0]["largest"] is None


def test_not_a_number_is_the_worst_of_a_group() -> None:
    found = [Difference("a", float("nan"), 1e-5), Difference("b", 1.0, 1e-5)]
    judged = outcome.judge("twice", "x", found)
    assert judged.status == "FAILED" and judged.worst() is found[0]
    assert outcome.Outcome("twice", "x", "FAILED", tuple(found[::-1])).largest("tokens") != 1.0


@pytest.mark.usefixtures("adapter")
def test_a_crash_is_a_failure(tmp_path: Path) -> None:
    write(tmp_path / "twice" / "crash.npz", x=np.array(["a"]))
    code, said = run("--vectors", str(tmp_path))
    assert code == 1 and "FAILED" in said[1] and "TypeError" in said[1]


# What could not be compared.


@pytest.mark.usefixtures("adapter")
def test_unknown_is_a_row_with_a_sentence(tmp_path: Path) -> None:
    write(tmp_path / "alchemy" / "gold.npz", json.dumps({"method": "alchemy"}))
    write(tmp_path / "twice" / "other_kind.npz")
    twice(tmp_path, "fine")
    code, said = run("--vectors", str(tmp_path))
    assert code == 1 and said[-1] == "3 cases: 1 ok, 0 FAILED, 2 unknown"
    assert "unknown" in said[1] and "no adapter knows 'alchemy'; known are b_vllm" in said[1]
    assert "other_kind has no x" in said[3]


def test_nothing_compared_is_not_equal(adapter: ModuleType, tmp_path: Path) -> None:
    vars(adapter)["check"] = lambda _: []
    twice(tmp_path, "idle")
    code, said = run("--vectors", str(tmp_path))
    assert code == 1 and "unknown" in said[1] and "compared nothing" in said[1]


def test_an_adapter_that_is_missing_is_told_from_one_that_misses_something(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(registry.ADAPTERS, "absent", "bench.parity.nowhere_at_all")
    write(tmp_path / "absent" / "a.npz")
    assert "bench.parity.nowhere_at_all, is not installed" in outcome.compare(tmp_path / "absent" / "a.npz").reason
    monkeypatch.setitem(registry.ADAPTERS, "absent", "bench.parity.nowhere.below")
    with pytest.raises(ModuleNotFoundError):
        registry.check_of("absent")


@pytest.mark.usefixtures("adapter")
def test_a_case_kept_in_another_folder_says_what_it_is(tmp_path: Path) -> None:
    twice(tmp_path, "kept")
    path = tmp_path / "twice" / "case_kept.npz"
    with np.load(path) as held:
        arrays = {name: held[name] for name in held.files if name != "meta_json"}
    write(tmp_path / "held_back" / "a.npz", json.dumps({"method": "twice"}), **arrays)
    assert outcome.compare(tmp_path / "held_back" / "a.npz").status == "ok"


# Broken files.


def lying(path: Path) -> Path:
    """An array that claims 8 TiB and holds nothing."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", head.getvalue())
    return path


def bomb(path: Path) -> Path:
    """Zeros that unpack to more than is read."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w", force_zip64=True) as f:
        np.lib.format.write_array_header_1_0(f, {"descr": "|u1", "fortran_order": False, "shape": (257 << 20,)})
        for _ in range(257):
            f.write(bytes(1 << 20))
    return path


def test_broken_files_are_rows_not_crashes(tmp_path: Path) -> None:
    folder = tmp_path / "tome"
    whole = write(folder / "whole.npz", x=np.arange(9999.0))
    (folder / "cut.npz").write_bytes(whole.read_bytes()[:2000])
    spoilt = bytearray(whole.read_bytes())
    spoilt[300:900] = bytes(600)
    (folder / "spoilt.npz").write_bytes(spoilt)
    (folder / "empty.npz").touch()
    (folder / "words.npz").write_text("no zip at all")
    write(folder / "list.npz", "[1, 2]")
    write(folder / "no_json.npz", "{")
    np.savez(folder / "no_meta.npz", x=np.arange(3))
    np.savez(folder / "pickled.npz", x=np.array([{}], dtype=object), meta_json=np.array(META))
    lying(folder / "lying.npz")
    bomb(folder / "bomb.npz")
    whole.unlink()
    code, said = run("--vectors", str(tmp_path))
    assert code == 1 and said[-1] == "10 cases: 0 ok, 0 FAILED, 10 unknown"
    by_name = {line.split()[0]: line for line in said[1:-1]}
    assert "unpacks to 257 MiB" in by_name["tome/bomb"]
    assert "x.npy says it is larger" in by_name["tome/lying"]
    assert "JSON object" in by_name["tome/list"]
    assert all("no reference case" in by_name[f"tome/{n}"] for n in ("cut", "spoilt", "empty", "words", "no_json"))


def test_deep_json_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "tome" / "deep.npz", "[" * 200_000)
    assert outcome.compare(path).status == "unknown"


def test_a_large_file_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "large.npz"
    with path.open("wb") as file:
        file.truncate(door.MOST_BYTES + 1)
    with pytest.raises(ValueError, match="at most 256 are read"):
        door.admit(path)


# The command.


@pytest.mark.usefixtures("adapter")
def test_folders_and_names(tmp_path: Path) -> None:
    twice(tmp_path, "a")
    twice(tmp_path, "b")
    write(tmp_path / "alchemy" / "gold.npz")
    assert run("--vectors", str(tmp_path), "--method", "twice")[0] == 0
    code, said = run("--vectors", str(tmp_path / "twice"))
    assert code == 0 and len(said) == 4
    with pytest.raises(Trouble, match="no case of tempme"):
        run("--vectors", str(tmp_path), "--method", "tempme")
    with pytest.raises(Trouble, match="there is no folder"):
        run("--vectors", str(tmp_path / "nowhere"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(Trouble, match="holds no case"):
        run("--vectors", str(tmp_path / "bare"))
    (tmp_path / "file").touch()
    with pytest.raises(Trouble, match="cannot be written"):
        run("--vectors", str(tmp_path), "--method", "twice", "--out", str(tmp_path / "file" / "x.json"))


def test_every_folder_of_reference_cases_has_its_adapter() -> None:
    folders = {path.parent.name for path in command.cases_in(VECTORS)}
    assert folders == set(registry.ADAPTERS)


def test_the_command_line_reaches_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    write(tmp_path / "alchemy" / "gold.npz", json.dumps({"method": "alchemy"}))
    assert "parity" in run_stream.benches()
    assert run_stream.main(["bench", "parity", "--vectors", str(tmp_path)]) == 1
    assert "1 case: 0 ok, 0 FAILED, 1 unknown" in capsys.readouterr().out
    assert run_stream.main(["bench", "parity", "--vectors", str(tmp_path / "no")]) == 2
    assert "there is no folder" in capsys.readouterr().err
