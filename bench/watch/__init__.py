"""Is it memory or luck? Questions of every mode and age to the deployed pipeline, beside its floors and its oracle."""

from bench.watch.command import main

__all__ = ["main"]
