"""The laws of the house as functions from source text to sentences; `test_house.py` holds the tree to them.

Each law takes a path inside the tree and its syntax tree, and yields one sentence per breach. They read syntax and
import nothing, so a room that cannot be imported on this machine is judged all the same.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

ROOMS = ("stream", "models", "kernels")
MAX_FILE_LINES = 300
MAX_TEST_FILE_LINES = 450  # a file of tests is a list of cases, beside one file of code; lists may be longer
MAX_FUNCTION_LINES = 60

Law = Callable[[PurePosixPath, ast.Module], Iterator[str]]


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker visits."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and _is_type_checking(child.test):
            for other in child.orelse:
                yield other
                yield from run_time_nodes(other)
            continue
        yield child
        yield from run_time_nodes(child)


def imported(node: ast.AST) -> list[str]:
    """Full names that an import statement reaches for; `from a import b` may mean the module a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        if node.level:
            return ["." * node.level + (node.module or "")]
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in {"import_module", "__import__"} and isinstance(node.args[0].value, str):
            return [node.args[0].value]
    return []


def _reaches(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


def arrows(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """Law 1 and 3: who may import whom, at run time."""
    room = path.parts[0]
    allowed: dict[str, tuple[str, ...]] = {
        "stream": ("stream",),
        "models": ("models", "stream.flow", "kernels.ops"),
        "kernels": ("kernels",),
    }
    for node in run_time_nodes(tree):
        for name in imported(node):
            where = f"{path}:{getattr(node, 'lineno', 0)}"
            if name.startswith("."):
                yield f"{where} imports relatively ({name}); the tree uses plain imports: from stream.flow import Frame"
            elif _reaches(name, "run_stream") and room in {*ROOMS, "bench"} and room != "bench":
                yield f"{where} imports run_stream, which knows everyone and is known by nobody"
            elif _reaches(name, "torchvision") or _reaches(name, "torchaudio"):
                yield f"{where} imports {name}; there is none here: docs/decisions/0002-no-torchvision.md"
            elif room in allowed:
                head = name.split(".")[0]
                if head in ROOMS and not any(_reaches(name, door) for door in allowed[room]):
                    yield f"{where}: {room}/ reaches into {name}; it may import only {', '.join(allowed[room])}"
                if room == "stream" and head in {"torch", "transformers", "safetensors", "tokenizers", "onnxruntime"}:
                    yield f"{where} imports {head}; stream/ knows time and tasks, never tensors"


def type_arrows(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """Law 1 for type checkers: models/ may name the sockets too, kernels/ nobody."""
    doors = {"models": ("models", "stream.flow", "stream.ports", "kernels.ops"), "kernels": ("kernels",)}
    room = path.parts[0]
    for node in ast.walk(tree):
        for name in imported(node) if room in doors else []:
            if name.split(".")[0] in ROOMS and not any(_reaches(name, door) for door in doors[room]):
                yield f"{path}:{getattr(node, 'lineno', 0)}: {room}/ names {name}, not even for types"


def no_tasks(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """Law 2: no `async`, no threads, no processes in models/ and kernels/."""
    if path.parts[0] not in {"models", "kernels"}:
        return
    machinery = ("asyncio", "threading", "_thread", "concurrent", "multiprocessing", "queue", "anyio", "sched")
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith | ast.Await):
            yield f"{path}:{line}: `async` in {path.parts[0]}/, which knows tensors and no tasks"
        for name in imported(node):
            if any(_reaches(name, module) for module in machinery):
                yield f"{path}:{line}: {path.parts[0]}/ imports {name}; time and tasks live in stream/"


def door_is_bare(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """Law 4: transformers probes for a package called `kernels`, so being imported must do nothing."""
    if str(path) == "kernels/__init__.py":
        for node in tree.body:
            if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
                yield f"{path}:{node.lineno}: only a docstring may stand here; the door is kernels.ops"


def lengths(path: PurePosixPath, tree: ast.Module, lines: int) -> Iterator[tuple[str, str]]:
    """Law 7: (who, sentence) for each file past 300 lines and each function past 60."""
    most = MAX_TEST_FILE_LINES if path.parts[0] == "tests" else MAX_FILE_LINES
    if lines > most:
        yield str(path), f"{path} has {lines} lines; past {most} it wants two ideas in two files, or a reason"

    def walk(node: ast.AST, trail: str) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            here = trail
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                here = f"{trail}.{child.name}".lstrip(".")
                size = (child.end_lineno or child.lineno) - child.lineno + 1
                if not isinstance(child, ast.ClassDef) and size > MAX_FUNCTION_LINES:
                    yield (
                        f"{path}::{here}",
                        f"{path}:{child.lineno}: {here} has {size} lines; past {MAX_FUNCTION_LINES} it wants a reason",
                    )
            yield from walk(child, here)

    yield from walk(tree, "")


# Roots of some person's or machine's disk; /dev and /proc are interfaces, /tmp is refused with them on purpose.
_MACHINE_PATH = re.compile(r"^(/(work|root|home|Users|tmp|opt|usr|mnt|var|etc)(/|$)|[A-Za-z]:\\)")


def manners(path: PurePosixPath, tree: ast.Module) -> Iterator[str]:
    """Law 8: no machine's path, no `print` outside the console, no `breakpoint`, no bare `except`."""
    speaks = path.parts[0] in {"bench", "tests"} or str(path) == "run_stream.py" or path.parts[:2] == ("stream", "cli")
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"{path}:{line}: a bare `except` also catches Ctrl-C; name what can go wrong"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id == "breakpoint":
                yield f"{path}:{line}: a breakpoint was left behind"
            if node.func.id == "print" and not speaks:
                yield f"{path}:{line}: print; words for people go through logging or stream/cli/"
        text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
        if path.parts[0] != "tests" and _MACHINE_PATH.match(text):
            yield f"{path}:{line}: {text!r} is a path of one machine"
        if isinstance(node, ast.Import | ast.ImportFrom) and any(_reaches(name, "pdb") for name in imported(node)):
            yield f"{path}:{line}: a debugger was left behind"


LAWS: tuple[Law, ...] = (arrows, type_arrows, no_tasks, door_is_bare, manners)


def breaches(path: str, source: str) -> list[str]:
    """All sentences that the laws (but for lengths) have to say about one file."""
    tree = ast.parse(source, filename=path)
    return [sentence for law in LAWS for sentence in law(PurePosixPath(path), tree)]
