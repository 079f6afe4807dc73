"""Tasks that end with the block that started them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """A `TaskGroup` that gives the block's own exception back as it came, not wrapped in a group.

    The block must end its tasks itself (`finally: task.cancel()`), for nothing is aborted on its behalf.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except Exception as error:
            failure = error
    if failure is not None:
        raise failure
