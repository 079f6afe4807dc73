"""An installed Longwatch owns exactly one name, holds every folder of the tree, and leaves its neighbours alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from tests.test_house import HOUSE, tracked

ROOMS = ("stream", "models", "kernels", "configs", "bench")


def shipped() -> list[str]:
    """Files of the tree that an installed Longwatch needs."""
    return [name for name in tracked() if name.split("/")[0] in ROOMS or name == "run_stream.py"]


def run(*command: str, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree, so that no left-over of an earlier build can lie in it."""
    tree = tmp_path_factory.mktemp("tree")
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(HOUSE / name, tree / name)
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree), cwd=tree)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    command = ("install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(target), str(wheel))
    run(sys.executable, "-m", "pip", *command, cwd=target)
    return target


def test_the_list_of_packages_is_the_tree() -> None:
    tools = tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))["tool"]
    listed = set(tools["setuptools"]["packages"])
    folders = {"longwatch", *(".".join(("longwatch", *Path(name).parent.parts)) for name in shipped())}
    assert listed == folders, f"missing: {sorted(folders - listed)}; gone: {sorted(listed - folders)}"


def test_one_name_and_every_file(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"longwatch"}
    missing = {f"longwatch/{name}" for name in shipped()} - set(names)
    assert not missing, f"in the tree, not in the wheel: {sorted(missing)}"
    strangers = set(names) - {f"longwatch/{name}" for name in shipped()}
    assert not strangers, f"in the wheel, not in the tree: {sorted(strangers)}"


def test_it_runs_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    say = "import sys; sys.path.insert(0, sys.argv[1]); from longwatch.run_stream import main; main(['--version'])"
    done = subprocess.run(
        [sys.executable, "-I", "-c", say, str(installed)], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("longwatch 0.")


def test_transformers_works_beside_the_house(installed: Path, tmp_path: Path) -> None:
    """transformers probes for a package called `kernels`; finding ours must not disturb it."""
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import longwatch.run_stream
import kernels, models, stream
assert kernels.__file__.startswith(sys.argv[1]), kernels.__file__
import transformers
from transformers import AutoTokenizer, LlavaOnevisionForConditionalGeneration, Qwen2ForCausalLM, SiglipVisionModel
import models.checkpoint
assert "torchvision" not in sys.modules
"""
    run(sys.executable, "-I", "-c", program, str(installed), cwd=tmp_path)
