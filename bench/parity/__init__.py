"""Our methods beside the published code: every case of a folder of reference vectors, one row each."""

from bench.parity.command import main

__all__ = ["main"]
