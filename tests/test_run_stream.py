"""The command line from outside: what it says, what it returns, how it ends; and the whole house once, end to end."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

import run_stream
from stream.config import Config, load
from stream.http.health import health_routes
from tests.models.tiny import tiny_model, tiny_tokenizer
from tests.patience import PATIENCE_S
from tests.servers.processes import Command

HOUSE = Path(__file__).parent.parent
CONFIGS = sorted((HOUSE / "configs").glob("*.yaml"))
ARTEFACTS = HOUSE / "artefacts"  # kept by CI
VARIABLES = {"CAM_PASS": "canary-of-the-camera", "CAM_HOST": "127.0.0.1"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights, in the same format and through the same loader as any other."""
    from models.checkpoint import Card, Checkpoint, save_checkpoint
    from models.cross_dynamics import CrossDynamics
    from models.vision.picture import Picture

    folder = tmp_path_factory.mktemp("tiny")
    tokenizer = tiny_tokenizer()
    made = Checkpoint(tiny_model(tokenizer), tokenizer, Picture(32), Card("tiny"), CrossDynamics(32), "tiny", folder)
    save_checkpoint(made, folder)
    return folder


def write(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


def service(folder: Path, model: Path, extra: str = "") -> str:
    """A configuration that minds no busy machine."""
    return write(
        folder,
        f"""
server: {{listen: "127.0.0.1:0"}}
model: {{path_or_id: {model}, device: cpu}}
questions: {{timeout_s: {PATIENCE_S}, max_age_ms: 60000}}
journal: {{path: {folder / "journal.sqlite"}}}
state_dir: null
cameras: {{yard: {{source: "sim://yard?seed=5&fps=4&speed=4", fps: 4}}}}
{extra}
""",
    )


def fails(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    """Status and the one sentence on stderr of a command that must fail without a traceback."""
    try:
        code = run_stream.main(argv)
    except SystemExit as ended:
        code = int(ended.code or 0)
    err = capsys.readouterr().err.strip()
    assert code != 0
    assert "Traceback" not in err
    assert err.startswith("longwatch: ")
    return code, err


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    assert load(path, VARIABLES).cameras


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_an_editor_finds_the_schema_of_every_shipped_configuration(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    listen = Config.model_validate({"cameras": {"any": {"source": "whip"}}}).server.listen
    assert first == f"# yaml-language-server: $schema=http://{listen}/api/config/schema.json"
    router = health_routes(cast("Any", None), cast("Any", None))
    assert "/api/config/schema.json" in {cast("Any", route).path for route in router.routes}


def test_there_are_the_three_situations() -> None:
    assert {path.name for path in CONFIGS} >= {"demo.yaml", "cameras.yaml", "gpu.yaml"}


def test_the_readme_speaks_of_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run_stream.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for command in run_stream.COMMANDS:
        assert command in shown


def test_an_unknown_configuration_key_is_one_sentence_with_its_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = write(tmp_path, "cameras:\n  front:\n    source: whip\n    stal_s: 5\nmemory:\n  budgets: 1GiB\n")
    code, err = fails(capsys, "check-config", path)
    assert code == 2
    assert ":4:" in err and "stall_s" in err
    assert ":6:" in err and "'budget'" in err


def test_a_missing_configuration_is_one_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, err = fails(capsys, "serve", "--config", str(tmp_path / "none.yaml"))
    assert "none.yaml" in err and "No such file" in err


def test_a_good_configuration_is_said_to_be_good(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_stream.main(["check-config", write(tmp_path, "cameras: {a: {source: whip}}")]) == 0
    assert "cameras a" in capsys.readouterr().out


def test_sources_that_can_never_be_are_told_all_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path, "cameras: {a: {source: 'gopher://x'}, b: {source: whip}, c: {source: 'sim://moon'}}")
    code, err = fails(capsys, "check-config", path)
    assert code == 2
    assert "cameras.a.source: " in err and "gopher" in err and "cameras.c.source: " in err and "cameras.b" not in err


def test_no_password_leaves_through_an_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = write(tmp_path, "cameras: {a: {source: 'rtsp://u:canary-word@h/1', fsp: 2}}\nmqtt: {password: canary-two}\n")
    _, err = fails(capsys, "check-config", path)
    assert "canary" not in err


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("gopher://127.0.0.1/x", "gopher"),
        ("/nowhere/at-all.mp4", "at-all.mp4"),
        ("rtsp://u:canary-word@127.0.0.1:9/x", "127.0.0.1:9"),
        ("sim://moon", "yard"),
    ],
)
def test_a_source_that_cannot_be_read(capsys: pytest.CaptureFixture[str], url: str, word: str) -> None:
    assert run_stream.main(["probe", url, "--seconds", "1"]) == 1
    out = capsys.readouterr().out
    assert "NOT" in out and word in out
    assert "canary" not in out


def test_a_source_that_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_stream.main(["probe", "sim://yard?fps=20", "--seconds", "1"]) == 0
    assert "320 x 240" in capsys.readouterr().out


def test_an_empty_folder_is_no_checkpoint(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, err = fails(capsys, "serve", "--quiet", "--config", service(tmp_path, tmp_path))
    assert "config.json" in err


def test_a_checkpoint_of_another_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    _, err = fails(capsys, "serve", "--quiet", "--config", service(tmp_path, tmp_path))
    assert "bert" in err and "llava_onevision" in err


def test_a_budget_that_cannot_hold_names_one_that_can(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: Path
) -> None:
    path = service(tmp_path, tiny, "memory: {budget: 64KiB}")
    _, err = fails(capsys, "serve", "--quiet", "--config", path)
    assert "too small" in err and "64 KiB" in err
    named = re.search(r"need (\d+) MiB", err)
    assert named is not None
    # What is named holds, the pictures of the evidence included; a little less does not.
    assert run_stream.House().budget_lines(load(service(tmp_path, tiny, f"memory: {{budget: {named[1]}MiB}}")))
    with pytest.raises(ValueError, match="too small"):
        run_stream.House().budget_lines(load(service(tmp_path, tiny, f"memory: {{budget: {int(named[1]) - 1}MiB}}")))


def test_a_model_on_a_device_that_is_not_here(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import torch

    other = "mps" if not torch.backends.mps.is_available() else "cuda"
    text = Path(service(tmp_path, tmp_path)).read_text().replace("device: cpu", f"device: {other}")
    _, err = fails(capsys, "serve", "--quiet", "--config", write(tmp_path, text))
    assert "device: auto" in err


def test_a_taken_port(capsys: pytest.CaptureFixture[str], tmp_path: Path, tiny: Path) -> None:
    from stream.http.server import bind

    taken = bind("127.0.0.1:0")
    try:
        port = taken.getsockname()[1]
        text = Path(service(tmp_path, tiny)).read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}")
        _, err = fails(capsys, "serve", "--quiet", "--config", write(tmp_path, text))
        assert f"127.0.0.1:{port}" in err
    finally:
        taken.close()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["ask", "front"], "QUESTION"),
        (["ask", "front", "Who?", "--since", "yesterday"], "10m"),
        (["bench", "nothing-of-the-kind"], "there is"),
        (["fly"], "fly"),
    ],
)
def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str], argv: list[str], word: str) -> None:
    code, err = fails(capsys, *argv)
    assert code == 2
    assert word in err


@pytest.mark.parametrize("name", run_stream.benches())
def test_every_measurement_that_is_offered_can_be_run(capsys: pytest.CaptureFixture[str], name: str) -> None:
    with pytest.raises(SystemExit) as ended:
        run_stream.main(["bench", name, "--help"])
    assert ended.value.code == 0 and "--" in capsys.readouterr().out


def test_asking_where_nothing_answers(capsys: pytest.CaptureFixture[str]) -> None:
    from stream.http.server import bind

    free = bind("127.0.0.1:0")
    port = free.getsockname()[1]
    free.close()
    _, err = fails(capsys, "ask", "front", "Who?", "--server", f"http://127.0.0.1:{port}")
    assert "make demo" in err


@pytest.fixture
def started() -> Iterator[list[Command]]:
    running: list[Command] = []
    yield running
    for one in running:
        one.kill()


async def until_seen(url: str) -> None:
    """Wait for the event that says that something is remembered."""
    async with (
        asyncio.timeout(PATIENCE_S),
        httpx.AsyncClient(timeout=None) as http,
        http.stream("GET", f"{url}/api/v1/events/stream") as events,
    ):
        async for line in events.aiter_lines():
            if line.startswith("data:") and '"frames_seen":0' not in line and '"frames_seen":' in line:
                return


async def test_serve_answers_and_ends_at_a_signal(
    tmp_path: Path, tiny: Path, started: list[Command], capsys: pytest.CaptureFixture[str]
) -> None:
    one = Command("serve", "--config", service(tmp_path, tiny))
    started.append(one)
    url = one.line_with("Longwatch  http").split()[1]
    told = one.line_with("memory ")
    assert "min at hand" in told
    await until_seen(url)

    asked = ["ask", "yard", "What do you see?", "--since", "1m", "--server", url]
    assert await asyncio.to_thread(run_stream.main, asked) == 0
    assert "first word after" in capsys.readouterr().out

    assert await asyncio.to_thread(run_stream.main, [*asked, "--json", "--quiet"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["status"] == "ok"
    assert answer["evidence"]["sightings"]

    assert await asyncio.to_thread(run_stream.main, ["ask", "attic", "Who?", "--server", url]) == 1
    assert "yard" in capsys.readouterr().err

    one.process.send_signal(signal.SIGTERM)
    said = await asyncio.to_thread(one.rest)
    assert one.process.returncode == 0, said
    assert "Traceback" not in said


async def test_the_second_signal_ends_at_once(tmp_path: Path, tiny: Path, started: list[Command]) -> None:
    one = Command("serve", "--config", service(tmp_path, tiny))
    started.append(one)
    one.line_with("memory ")
    one.process.send_signal(signal.SIGINT)
    one.line_with("Ending")
    one.process.send_signal(signal.SIGINT)
    await asyncio.to_thread(one.rest)
    assert one.process.returncode in {0, 128 + signal.SIGINT}  # it may have ended cleanly before the second came


def test_demo_once_from_first_frame_to_last_word(tmp_path: Path, started: list[Command]) -> None:
    patient = f"questions: {{timeout_s: {PATIENCE_S}, max_age_ms: 60000}}\n"
    one = Command("demo", "--once", "--config", write(tmp_path, (HOUSE / "configs/demo.yaml").read_text() + patient))
    started.append(one)
    one.process.wait(timeout=2 * PATIENCE_S)
    said = one.rest()
    assert one.process.returncode == 0, said
    assert "published over WHIP" in said
    for word in ("Question  ", "Answer    ", "Truth     ", "first word after", "First answer after"):
        assert word in said, said


def test_demo_says_what_to_try_next_and_ends_at_ctrl_c(started: list[Command]) -> None:
    one = Command("demo")
    started.append(one)
    figure = one.line_with("First answer after")
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "demo.txt").write_text(figure)
    one.line_with("What to try next")
    url = one.line_with("open  ").split()[1]
    assert httpx.get(f"{url}readyz", timeout=PATIENCE_S).json()["ready"]  # it goes on, and is what it says
    one.line_with("Ctrl-C ends the demo.")
    one.process.send_signal(signal.SIGINT)
    said = one.rest()
    assert one.process.returncode == 0, said
    assert said.rstrip().endswith("Ending.") and "Traceback" not in said, said
    for word in ("run_stream.py ask yard", "OpenAI(base_url=", "configs/cameras.yaml"):
        assert word in said, said
