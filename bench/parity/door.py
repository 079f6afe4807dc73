"""What a file must look like before it is read: a `.npz` is a zip, and says how large it will be."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING

import numpy as np

from bench.parity.case import Case, read_case

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

MOST_BYTES = 256 << 20  # of the file, and of all that is in it once unpacked
MOST_ARRAYS = 10_000
# What a file can make its readers raise: no zip, a broken deflate stream, an early end, a disk that fails, one of the
# compressions that zipfile does not know, a locked member, and a header that numpy cannot make sense of.
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)


def admit(path: Path) -> Case:
    """Read a case whose sizes are within bounds. Raises ValueError with a sentence for everything else."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path.name} has {path.stat().st_size >> 20} MiB; at most {MOST_BYTES >> 20} are read.")
        with zipfile.ZipFile(path) as archive:
            _sizes(path.name, archive)
        case = read_case(path)
    except _BROKEN as error:
        told = str(error) if str(error).startswith(path.name) else f"{path.name} is no reference case: {error}"
        raise ValueError(told[:300]) from error
    if not isinstance(case.meta, dict):  # a list, a number: JSON all the same
        raise ValueError(  # noqa: TRY004  it is about a file's content
            f"{path.name}: meta_json should hold a JSON object."
        )
    return case


def _sizes(name: str, archive: zipfile.ZipFile) -> None:
    """Nothing is unpacked yet but the first line of each array."""
    members = archive.infolist()
    if len(members) > MOST_ARRAYS:
        raise ValueError(f"{name} holds {len(members)} arrays; at most {MOST_ARRAYS} are read.")
    declared = sum(member.file_size for member in members)
    if declared > MOST_BYTES:
        raise ValueError(f"{name} unpacks to {declared >> 20} MiB; at most {MOST_BYTES >> 20} are read.")
    for member in members:
        with archive.open(member) as file:
            held = _array_bytes(file)
        if held > member.file_size:  # numpy would ask for all of it before it reads the first byte
            raise ValueError(f"{name}: {member.filename} says it is larger ({held} bytes) than it is.")


def _array_bytes(file: IO[bytes]) -> int:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    count = 1
    for side in shape:
        count *= side  # Python's integers do not overflow
    return count * dtype.itemsize
