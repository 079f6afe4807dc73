"""What lies in a dataset's folder: looked through once, so that a question finds its video by name."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path, PurePosixPath

from bench.paper.items import BadData, Item

VIDEOS = frozenset({".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v", ".gif", ".mpg", ".mpeg"})
TABLES = frozenset({".json", ".jsonl", ".csv", ".tsv", ".parquet"})
DEEPEST = 8  # folders; links are followed, and may lead round in a circle


class Shelf:
    """Films (video files, or folders of pictures) and annotation files below one or two folders."""

    def __init__(self, *folders: Path) -> None:
        """Raises `BadData` where a folder is not there."""
        self.tables: list[Path] = []
        self._films: dict[str, list[Path]] = defaultdict(list)
        for folder in dict.fromkeys(folder.resolve() for folder in folders):
            if not folder.is_dir():
                raise BadData(f"There is no folder {folder}.")
            self._walk(folder)
        self.tables.sort(key=lambda path: (len(path.parts), path))

    def annotation(self, ending: str) -> Path | None:
        """The file whose path ends so, nearest to the top; None where there is none."""
        parts = PurePosixPath(ending).parts
        return next((path for path in self.tables if path.parts[-len(parts) :] == parts), None)

    def film(self, item: Item) -> Path | None:
        """The file of an item's video; None where it is not there. Raises `BadData` where it could be two."""
        named = PurePosixPath(item.video)
        found = self._films.get(_stem(named.name), [])
        if len(found) > 1:  # by the folder that the dataset writes before the name, or keeps such videos in
            found = [path for path in found if path.parts[-len(named.parts) : -1] == named.parts[:-1]] or found
        if len(found) > 1 and item.folder:
            found = [path for path in found if item.folder in path.parts] or found
        if len(found) > 1:
            raise BadData(
                f"Two files could be the video {item.video}: {found[0]} and {found[1]}. Keep one of them below --data."
            )
        return found[0] if found else None

    def _walk(self, top: Path) -> None:
        for where, folders, names in os.walk(top, followlinks=True):
            folder = Path(where)
            if len(folder.parts) - len(top.parts) >= DEEPEST:
                folders.clear()
            folders.sort()
            pictures = False
            for name in sorted(names):
                suffix = PurePosixPath(name).suffix.lower()
                if suffix in VIDEOS:
                    self._films[_stem(name)].append(folder / name)
                elif suffix in TABLES:
                    self.tables.append(folder / name)
                pictures |= suffix in {".jpg", ".jpeg", ".png"}
            if pictures:
                self._films[folder.name].append(folder)


def _stem(name: str) -> str:
    """Without the ending, where that is a video's: ids may have dots in them."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in VIDEOS else name
