"""From a dataset's folder to the table: small films, real checkpoints, every answer on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import run_stream
from bench._results import OtherPlan
from bench.paper import command
from bench.paper.film import frames_of
from bench.paper.items import Item
from bench.paper.published import PUBLISHED
from bench.paper.report import lines, numbers, score
from bench.paper.resume import Answered, Answers
from bench.paper.viewer import NAMES, TooLong, Viewer
from models.checkpoint import Card, Checkpoint
from models.cross_dynamics import CrossDynamics
from models.reducers.clip import Clip, Reduced
from models.reducers.registry import SALIENT
from models.reducers.simple import Uniform
from models.vision.picture import Picture
from models.vision.torch_tower import TorchVision
from stream.cli.console import Trouble
from tests.bench.paper.made import BLUE, MADE, actnet_qa, film, longvideobench, nextqa_mc
from tests.models.tiny import tiny_model, tiny_tokenizer


def run(dataset: str, folder: Path, out: Path, *more: str) -> tuple[int, list[str], dict[str, Any]]:
    said = list[str]()
    argv = ["--dataset", dataset, "--data", str(folder), "--out", str(out), "--frames", "6", "--rows", "12", *more]
    code = command.main([*argv, "--device", "cpu"], said.append)
    return code, said, json.loads(out.read_text())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Random weights of the format of hub checkpoints: no card, no dynamics of its own."""
    return random_checkpoint(tmp_path_factory.mktemp("tiny"))


def random_checkpoint(folder: Path, seed: int = 0) -> Checkpoint:
    tokenizer = tiny_tokenizer()
    model = tiny_model(tokenizer, seed=seed)
    return Checkpoint(model, tokenizer, Picture(32), Card(), CrossDynamics(32), "tiny", folder)


# The whole way.


@pytest.mark.parametrize("dataset", MADE)
def test_every_dataset_from_files_to_table(dataset: str, tmp_path: Path) -> None:
    code, said, told = run(dataset, MADE[dataset](tmp_path / "data"), tmp_path / "out" / "x.json")
    assert code == 0
    lines_of = (tmp_path / "out" / "x.jsonl").read_text().splitlines()
    assert told["all"]["count"] == len(lines_of) - 1 > 0
    assert 0 <= told["all"]["low"] <= told["all"]["right"] / told["all"]["count"] <= told["all"]["high"] <= 1
    assert 1 <= told["all"]["tokens"] <= 12 < told["all"]["patches"]
    assert told["all"]["first_ms"] > 0 and told["all"]["vision_ms"] > 0
    assert told["model"] and told["fingerprint"] and not told["not_asked"]
    rows = [line for line in said if line.startswith("token_dynamics, 6 frames")]
    assert len(rows) == 1 and f"measured, n = {told['all']['count']}" in rows[0]
    assert any("HoliTom" in line or "VQToken" in line or "DyCoke" in line for line in said)


def test_a_second_run_asks_only_what_is_new(tmp_path: Path) -> None:
    folder, out = nextqa_mc(tmp_path / "data"), tmp_path / "x.json"
    _, _, told = run("nextqa_mc", folder, out, "--limit", "2")
    assert told["all"]["count"] == 2
    first = out.with_suffix(".jsonl").read_text().splitlines()
    assert [json.loads(line)["video"] for line in first[1:]] == ["1150/4010069381", "1150/6233408665"]
    _, _, told = run("nextqa_mc", folder, out)
    both = out.with_suffix(".jsonl").read_text().splitlines()
    assert told["all"]["count"] == 4 and both[:3] == first and len(both) == 5
    _, said, again = run("nextqa_mc", folder, out)
    assert again == told and out.with_suffix(".jsonl").read_text().splitlines() == both
    assert sum(line.endswith(", known") for line in said) == 2
    with pytest.raises(Trouble, match=r"rows 12, now 13.*give another --out"):
        run("nextqa_mc", folder, out, "--rows", "13")


def test_a_video_that_is_missing_or_broken_is_told_and_tried_again(tmp_path: Path) -> None:
    folder, out = nextqa_mc(tmp_path / "data"), tmp_path / "x.json"
    gone = folder / "NExTVideo" / "1150" / "6233408665.mp4"
    gone.write_bytes(b"no film")
    code, said, told = run("nextqa_mc", folder, out)
    assert code == 0 and told["all"]["count"] == 2 and len(told["not_asked"]) == 2
    assert any("2 of 4 questions could not be asked" in line for line in said)
    assert "cannot be read" in told["not_asked"]["6233408665_0"]
    gone.unlink()
    assert "there is no video 1150/6233408665" in run("nextqa_mc", folder, out)[2]["not_asked"]["6233408665_0"]
    film(gone, (BLUE,))
    _, _, told = run("nextqa_mc", folder, out)
    assert told["all"]["count"] == 4 and not told["not_asked"]
    for path in folder.rglob("*.mp4"):
        path.unlink()
    code, _, told = run("nextqa_mc", folder, tmp_path / "none.json")
    assert code == 1 and told["all"] is None


def test_every_reducer_can_be_asked(tmp_path: Path, tiny: Checkpoint) -> None:
    path = film(tmp_path / "x.mp4")
    seen = {name: Viewer(tiny, name, 10, 6).look(path) for name in NAMES}
    assert len(seen["none"].rows) == seen["none"].patches == 6 * 4
    assert all(1 <= len(look.rows) <= 10 for name, look in seen.items() if name != "none")
    assert all(bool(look.rows.isfinite().all()) for look in seen.values())


# What the model reads.


@pytest.mark.parametrize("seed", [1, 2, 10])
def test_without_a_reducer_it_is_the_checkpoints_own_video_prompt(tmp_path: Path, seed: int) -> None:
    """The same words as transformers generates from pixels and the chat template."""
    tiny = random_checkpoint(tmp_path, seed)
    path, viewer, heard = film(tmp_path / "x.mp4"), Viewer(tiny, "none", 1, 5), set[str]()
    look = viewer.look(path)
    pixels = torch.stack([tiny.picture.tensor(frame.rgb) for frame in frames_of(path, 5)])[None]
    model: Any = tiny.model
    for question in ("was there a person?", "how many bikes do you see now?", "a red box"):
        layout = viewer.backbone.layout(stamps=False)
        video = [viewer.backbone.video_token_id] * (len(look.rows) + 1)  # and the newline that ends a video
        ids = torch.tensor([[*layout.prefix_ids, *video, *layout.question_ids(question)]])
        with torch.no_grad():
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                pixel_values_videos=pixels,
                max_new_tokens=12,
                do_sample=False,
            )
        theirs = tiny.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        assert viewer.ask(look, question, 12).text == theirs.strip()
        heard.add(str(theirs))
    assert len(heard) == 3, "these weights say the same whatever they are asked"


@pytest.mark.parametrize("name", ["prumerge", "tome"])
def test_what_the_tower_attends_to_reaches_the_reducers_that_ask(name: str, tmp_path: Path, tiny: Checkpoint) -> None:
    path, handed = film(tmp_path / "x.mp4"), list[Clip]()
    seen = TorchVision(tiny, salient=True).encode(list(frames_of(path, 6)))

    class Noting(Uniform):
        def reduce(self, clip: Clip, rows: int) -> Reduced:
            handed.append(clip)
            return Uniform().reduce(clip, rows)

    viewer = Viewer(tiny, name, 10, 6)
    viewer._reducer = Noting()
    viewer.look(path)
    told = handed[0].saliency
    assert (told is not None) == (name in SALIENT)
    if told is not None:
        attended = [tokens.saliency for tokens in seen if tokens.saliency is not None]
        assert torch.equal(told, torch.stack(attended))
    assert handed[0].times_s.tolist() == pytest.approx([tokens.span_s[1] for tokens in seen])


def test_a_prompt_beyond_the_models_positions_is_refused(tmp_path: Path, tiny: Checkpoint) -> None:
    viewer = Viewer(tiny, "none", 1, 2)
    look = viewer.look(film(tmp_path / "x.mp4"))
    with pytest.raises(TooLong, match="4096 positions; take fewer --frames"):
        viewer.ask(look, "word " * 4096, 4)


def test_one_film_is_seen_once_for_all_its_questions() -> None:
    items = [Item(f"{n}", f"v{n % 2}", "q", "A", ("a", "b")) for n in range(9)] + [
        Item("0", "v0", "q", "A", ("a", "b"))
    ]
    found = command.chosen(items, None)
    assert len(found) == 9 and [item.video for item in found] == sorted(item.video for item in found)
    assert {item.id for item in command.chosen(items, 3)} == {"0", "3", "6"}


# Files and figures.


def answered(number: int, right: bool, group: str = "", why: str = "", choices: int = 4) -> Answered:
    return Answered(
        f"{number}", "v", group, "A", choices, why, "A", right, right, True, 32, 320, 8, 50.0, 2.0, 10.0 + number, 20.0
    )


def test_scores_are_of_what_was_asked() -> None:
    found = [answered(i, i < 6, "short" if i < 4 else "long") for i in range(8)] + [answered(9, False, why="gone")]
    whole = score(found)
    assert (whole.count, whole.right, whole.percent, whole.chance) == (8, 6, 75.0, 0.25)
    assert whole.density == pytest.approx(75 / 32) and whole.first_ms == 13.5
    assert whole.low == pytest.approx(0.409, abs=1e-3) and whole.high == pytest.approx(0.929, abs=1e-3)
    told = numbers(found)
    assert told["groups"]["short"]["right"] == 4 and told["groups"]["long"]["right"] == 2
    assert told["not_asked"] == {"9": "gone"}
    said = lines("nextqa_mc", "tome", "m", found)
    assert any(line.startswith("tome ") and "75.00" in line and "40.9 to 92.9" in line for line in said)
    assert any(line.startswith("guessing") and "25.00" in line for line in said)
    assert score([answered(1, False, why="gone")]) is None
    open_answers = [answered(i, True, choices=0) for i in range(3)]
    assert score(open_answers).chance is None
    assert any("language model judge" in line for line in lines("actnet_qa", "tome", "m", open_answers))


def test_published_figures_stand_beside(tmp_path: Path) -> None:
    by_method = {(one.dataset, one.method): one for one in PUBLISHED if "VQToken" in one.source}
    fixed = by_method["nextqa_mc", "Token Dynamics / VQToken, fixed 32"]
    assert (fixed.tokens, fixed.accuracy) == (32, 57.46) and fixed.density == pytest.approx(1.796, abs=1e-3)
    assert {one.dataset for one in PUBLISHED} == set(MADE)
    _, said, _ = run("longvideobench", longvideobench(tmp_path / "data"), tmp_path / "x.json")
    (row,) = (line for line in said if line.startswith("Token Dynamics / VQToken, fixed 32"))
    assert row.split("LLaVA-OV 0.5B")[1].split()[:3] == ["32", "39.30", "1.228"]


def test_answers_survive_a_run_that_was_ended_while_it_wrote(tmp_path: Path) -> None:
    path, what = tmp_path / "x.jsonl", {"rows": 3}
    Answers(path, what).add(answered(1, True))
    whole = path.read_text()
    path.write_text(whole + '{"id": "2", "vid')
    again = Answers(path, what)
    assert again.asked("1") and not again.asked("2") and path.read_text() == whole
    again.add(answered(2, False, why="gone"))
    assert not Answers(path, what).asked("2")
    again.add(answered(2, True))
    assert Answers(path, what).known["2"].right
    with pytest.raises(OtherPlan, match="rows 3, now 4"):
        Answers(path, {"rows": 4})


# The command.


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--model", "/nowhere/at/all"), "There is no folder"),
        (("--frames", "65"), "--frames 1 to 64"),
        (("--rows", "0"), "--rows must be 1 or more"),
        (("--device", "cuda:9"), "CUDA"),
        (("--annotations", "nowhere.json"), "cannot be read"),
        (("--videos", "nowhere"), "There is no folder"),
    ],
)
def test_what_cannot_be_is_a_sentence(more: tuple[str, ...], words: str, tmp_path: Path) -> None:
    folder = actnet_qa(tmp_path / "data")
    argv = ["--dataset", "actnet_qa", "--data", str(folder), "--out", str(tmp_path / "x.json"), *more]
    with pytest.raises(Trouble, match=words):
        command.main(argv, lambda _: None)


def test_the_command_line_reaches_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "paper" in run_stream.benches()
    assert run_stream.main(["bench", "paper", "--dataset", "nextqa_mc", "--data", str(tmp_path)]) == 1
    assert "No annotations of nextqa_mc are there: test.csv or val.csv" in capsys.readouterr().err
