"""A real browser for tests: headless, on this machine alone, with a camera of its own if wanted."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

ARTEFACTS = Path(__file__).parents[2] / "artefacts"  # screenshots, for people; git ignores them
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--allow-loopback-in-peer-connection",
    "--host-resolver-rules=MAP camera.example 127.0.0.1",
]
CAMERA = [*FLAGS, "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]


@contextlib.asynccontextmanager
async def browser(*flags: str) -> AsyncIterator[Browser]:
    """The browser, with these flags."""
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert path, "The tests need chromium-headless-shell; tests/parts.sh installs it."
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=list(flags))
        try:
            yield chromium
        finally:
            await chromium.close()


async def visit(chromium: Browser, url: str, width: int = 1280, height: int = 800) -> tuple[Page, list[str]]:
    """The page, and everything it complains about."""
    page = await chromium.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(100_000)  # ms; a test machine may be busy for a long time
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(_told(message)) if message.type == "error" else None)
    await page.goto(url)
    return page, troubles


def _told(message: ConsoleMessage) -> str:
    return f"{message.text} {message.location.get('url', '')}".strip()
