"""The journal's file: its table, how an older layout becomes today's, and how much of it stays."""

from __future__ import annotations

import sqlite3
from pathlib import Path

SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE IF NOT EXISTS questions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    camera TEXT NOT NULL,
    text TEXT NOT NULL,
    source TEXT NOT NULL,
    reply TEXT,
    asked_wall_s REAL NOT NULL,
    status TEXT,
    answered_wall_s REAL,
    answer TEXT,
    told INTEGER NOT NULL DEFAULT 0
)"""
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS questions_by_id ON questions (id)",
    "CREATE INDEX IF NOT EXISTS questions_unfinished ON questions (seq) WHERE status IS NULL",
    # MQTT alone brings its answers to the asker; whoever asked over HTTP holds the line and hears it or does not.
    "CREATE INDEX IF NOT EXISTS questions_untold ON questions (answered_wall_s) WHERE told = 0 AND source = 'mqtt'",
)
_STEPS = {  # from a layout to the next one
    # Nobody wrote down which answers had arrived; telling all of the last minutes once more would be the worse guess.
    1: (
        "ALTER TABLE questions ADD COLUMN told INTEGER NOT NULL DEFAULT 0",
        "UPDATE questions SET told = 1 WHERE status IS NOT NULL",
    ),
}


def open_disk(path: Path) -> sqlite3.Connection:
    """The file, in today's layout; made when it is not there. Raises `sqlite3.Error` or `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    disk = sqlite3.connect(path, isolation_level=None, timeout=5.0)
    try:
        disk.execute("PRAGMA journal_mode=WAL")
        disk.execute("PRAGMA synchronous=FULL")
        _lay_out(disk)
    except BaseException:
        disk.close()
        raise
    return disk


def _lay_out(disk: sqlite3.Connection) -> None:
    """All steps in one transaction: a power cut leaves the old layout or the new one."""
    disk.execute("BEGIN IMMEDIATE")
    found = disk.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"it was written by a newer Longwatch (layout {found})")
    for layout in range(found, SCHEMA_VERSION) if found else ():
        for step in _STEPS[layout]:
            disk.execute(step)
    disk.execute(_SCHEMA)
    for index in _INDEXES:
        disk.execute(index)
    if found != SCHEMA_VERSION:
        disk.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    disk.execute("COMMIT")


def trim(disk: sqlite3.Connection, max_rows: int, older_wall_s: float) -> None:
    """Finished questions beyond the newest `max_rows`, or asked before `older_wall_s` (Unix time, s), leave."""
    newest = disk.execute("SELECT max(seq) FROM questions").fetchone()[0] or 0
    disk.execute(
        "DELETE FROM questions WHERE status IS NOT NULL AND (seq <= ? OR asked_wall_s < ?)",
        (newest - max_rows, older_wall_s),
    )
