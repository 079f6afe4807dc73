"""The field's own datasets, in their own formats: our methods on them, beside what was published."""

from bench.paper.command import main

__all__ = ["main"]
