"""Every way to have fewer tokens, at the same budgets, on the same frames, questions and model."""

from bench.methods.command import main

__all__ = ["main"]
