"""The house keeps its shape: arrows, no tasks among tensors, twins, configs, lengths, manners."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path, PurePosixPath

import pytest

from tests.house_laws import MAX_FILE_LINES, MAX_FUNCTION_LINES, breaches, lengths

HOUSE = Path(__file__).parent.parent

# A file past 300 lines or a function past 60, with the reason it stays whole. Keep this short.
LONG_WITH_REASON: dict[str, str] = {
    "kernels/reference.py::motion_statistics": "one statistic after another over the same arrays",
    "stream/http/signalling.py::signalling_routes": "short routes, one after another, closing over the same two",
}

TOP_LEVEL = {
    *("stream", "models", "kernels", "configs", "tests", "bench", "docs", "run_stream.py", ".ci"),
    *("pyproject.toml", "README.md", "Makefile", "CHANGELOG.md", "LICENSE", ".gitignore", ".gitattributes"),
}


def tracked() -> list[str]:
    """Files of the tree: what git knows or would take; a tree without git is walked."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        return sorted(name for name in listing.stdout.splitlines() if (HOUSE / name).is_file())
    return sorted(
        str(path.relative_to(HOUSE).as_posix())
        for top in TOP_LEVEL
        for path in [HOUSE / top, *(HOUSE / top).rglob("*")]
        if path.is_file() and "__pycache__" not in path.parts
    )


def sources() -> list[str]:
    return [name for name in tracked() if name.endswith(".py")]


def test_every_file_keeps_the_laws() -> None:
    said = [sentence for name in sources() for sentence in breaches(name, (HOUSE / name).read_text("utf-8"))]
    assert not said, "\n" + "\n".join(said)


def test_files_and_functions_stay_short() -> None:
    found: dict[str, str] = {}
    for name in sources():
        text = (HOUSE / name).read_text("utf-8")
        found.update(lengths(PurePosixPath(name), ast.parse(text), text.count("\n")))
    said = [sentence for who, sentence in found.items() if who not in LONG_WITH_REASON]
    assert not said, "\n" + "\n".join(said)
    assert all(LONG_WITH_REASON.values())
    stale = sorted(set(LONG_WITH_REASON) - set(found))
    assert not stale, f"these are short now; take them off the list: {stale}"


def test_the_top_level_is_fixed() -> None:
    strangers = {name.split("/")[0] for name in tracked()} - TOP_LEVEL
    assert not strangers, f"the top level of the tree is fixed; these do not belong there: {sorted(strangers)}"


def verbs(path: Path) -> set[str]:
    """Public lower-case names that a module binds at its top level by def, import from our kernels, or assignment."""
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kernels."):
            names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return {name for name in names if name.islower() and not name.startswith("_")}


def test_every_kernel_has_its_plain_twin_and_a_test() -> None:
    offered = verbs(HOUSE / "kernels/ops.py") - {"use"}  # the one switch
    assert offered, "kernels/ops.py offers nothing; it is the only door"
    alone = sorted(offered - verbs(HOUSE / "kernels/reference.py"))
    assert not alone, f"without a plain twin in kernels/reference.py: {alone}"
    tests = "".join(path.read_text("utf-8") for path in (HOUSE / "tests/kernels").glob("test_*.py"))
    untested = sorted(name for name in offered if not re.search(rf"\b{name}\b", tests))
    assert not untested, f"no test in tests/kernels/ compares these with anything: {untested}"


def test_every_folder_says_what_it_knows() -> None:
    for name in sources():
        if name.endswith("__init__.py"):
            assert ast.get_docstring(ast.parse((HOUSE / name).read_text("utf-8"))), f"{name} wants one line: what it is"


def test_torchvision_is_no_dependency() -> None:
    project = tomllib.loads((HOUSE / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    assert not [line for line in wanted if re.match(r"torch(vision|audio)\b", line)]
    for line in project["dependencies"]:
        assert re.search(r">=\d[^,]*,<\d", line), f"{line}: a core dependency wants an honest lower and upper bound"


def test_every_ruff_exception_has_its_reason() -> None:
    text = (HOUSE / "pyproject.toml").read_text("utf-8")
    lint = text.split("[tool.ruff.lint]")[1].split("[tool.ruff.lint.pydocstyle]")[0]
    silent = [line.strip() for line in lint.splitlines() if re.match(r'\s+"[A-Z]+\d*",', line) and "  # " not in line]
    assert not silent, f"an exception without its reason: {silent}"


def test_nothing_names_a_machine() -> None:
    """Text files too: no one's home, no registry's host."""
    forbidden = re.compile(r"(?<![\w.])(/work/|/root/|/home/\w)|file:///opt/|files\.pythonhosted|download\.pytorch")
    said = []
    for name in tracked():
        path = HOUSE / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".html", ".js", ".css", ".json", ""}:
            for number, line in enumerate(path.read_text("utf-8", errors="replace").splitlines(), start=1):
                if forbidden.search(line) and not name.startswith("tests/"):
                    said.append(f"{name}:{number} names a place of one machine: {line.strip()[:90]}")
    assert not said, "\n".join(said)


# The laws can fail: each of these small sources breaks one, and its harmless sibling breaks none.
GUILTY = [
    ("stream/a.py", "import torch\n", "never tensors"),
    ("stream/a.py", "def f():\n    from torch import nn\n", "never tensors"),
    ("stream/a.py", "from models.memory import Memory\n", "reaches into models"),
    ("stream/a.py", "import importlib\nimportlib.import_module('kernels.ops')\n", "reaches into kernels"),
    ("stream/a.py", "from . import flow\n", "relatively"),
    ("stream/a.py", "import run_stream\n", "known by nobody"),
    ("models/a.py", "from stream.agent import Agent\n", "reaches into stream.agent"),
    ("models/a.py", "from kernels.reference import nearest\n", "reaches into kernels.reference"),
    (
        "models/a.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import stream.agent\n",
        "not even for types",
    ),
    ("models/a.py", "import torchvision\n", "0002-no-torchvision"),
    ("models/a.py", "async def f(): ...\n", "no tasks"),
    ("models/a.py", "import threading\n", "time and tasks live in stream"),
    ("kernels/a.py", "from concurrent.futures import ThreadPoolExecutor\n", "time and tasks live in stream"),
    ("kernels/a.py", "from stream.flow import Frame\n", "reaches into stream.flow"),
    ("kernels/__init__.py", '"""Door."""\nfrom kernels import ops\n', "only a docstring"),
    ("stream/a.py", "print(1)\n", "words for people"),
    ("stream/a.py", "try:\n    pass\nexcept:\n    pass\n", "bare `except`"),
    ("models/a.py", "breakpoint()\n", "breakpoint"),
    ("models/a.py", "P = '/home/someone/model'\n", "path of one machine"),
]
INNOCENT = [
    ("stream/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\n"),
    ("models/a.py", "from stream.flow import Frame\nfrom kernels.ops import nearest\nfrom kernels import ops\n"),
    ("models/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from stream.ports import MemoryView\n"),
    ("stream/cli/a.py", "print(1)\n"),
    ("kernels/__init__.py", '"""Door."""\n'),
    ("stream/a.py", "P = '/dev/video0'\nR = '/api/v1/cameras'\n"),
]


@pytest.mark.parametrize(("path", "source", "sentence"), GUILTY)
def test_the_laws_notice(path: str, source: str, sentence: str) -> None:
    said = breaches(path, source)
    assert any(sentence in each for each in said), said or "nothing was said"


@pytest.mark.parametrize(("path", "source"), INNOCENT)
def test_the_laws_let_pass(path: str, source: str) -> None:
    assert breaches(path, source) == []


def test_the_lengths_notice() -> None:
    body = "class A:\n    def f(self):\n" + "        x = 1\n" * (MAX_FUNCTION_LINES + 1)
    found = dict(lengths(PurePosixPath("stream/a.py"), ast.parse(body), MAX_FILE_LINES + 1))
    assert set(found) == {"stream/a.py", "stream/a.py::A.f"}
