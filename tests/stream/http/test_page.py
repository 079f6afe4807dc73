"""The dashboard in a real browser: live picture, memory, a typed question, its words as they come, its evidence."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

from stream.config import Config
from stream.http.app import make_app
from stream.http.server import serving
from stream.station import Station
from tests.patience import PATIENCE_S
from tests.stream.http.conftest import until
from tests.stream.http.shows import Yard, showcase

pytestmark = pytest.mark.asyncio(loop_scope="module")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
ARTEFACTS = Path("artefacts")  # under the root of the tree, where pytest runs; kept by CI
PATIENCE_MS = 120_000  # a test machine may be busy
ARTEFACTS.mkdir(exist_ok=True)
expect.set_options(timeout=PATIENCE_MS)


@dataclass(eq=False)
class Show:
    """A browser before a running yard."""

    browser: Browser
    station: Station
    config: Config
    url: str
    troubles: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def visit(
        self, width: int = 1280, height: int = 900, *, at: str = "", scheme: str = "light", init: str = ""
    ) -> AsyncIterator[Page]:
        """The page at a size; what the browser complains of, or fetches from elsewhere, is a failure."""
        self.troubles.clear()
        page = await self.browser.new_page(
            viewport={"width": width, "height": height}, color_scheme="dark" if scheme == "dark" else "light"
        )
        page.set_default_timeout(PATIENCE_MS)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", self._hear)
        page.on("request", self._see)
        if init:
            await page.add_init_script(init)
        try:
            await page.goto(self.url + at)
            yield page
        finally:
            await page.close()
        assert self.troubles == []

    def _see(self, asked: Request) -> None:
        if not asked.url.startswith((self.url, "blob:")):
            self.troubles.append(f"fetched from elsewhere: {asked.url}")

    def _hear(self, told: ConsoleMessage) -> None:
        lost = "thumbnail.jpg" in told.location["url"] and "404" in told.text  # a moment of which no picture is kept
        if told.type == "error" and not lost:
            self.troubles.append(told.text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def show(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Show]:
    path = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    assert path, "The tests need chromium-headless-shell; tests/parts.sh installs it."
    async with showcase(tmp_path_factory.mktemp("yard")) as (station, config), async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        async with serving(make_app(station, config), "127.0.0.1:0") as url:
            yield Show(browser, station, config, url)
        await browser.close()


# Collects every text the answer had on its way.
WATCH_WORDS = """
window.said = [];
new MutationObserver(() => {
  const said = document.querySelector(".said");
  if (said && window.said.at(-1) !== said.textContent) window.said.push(said.textContent);
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
HEAT = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let most = 0;
  for (let i = 3; i < data.length; i += 4) most = Math.max(most, data[i]);
  return most;
}"""


async def ask(page: Page, text: str) -> None:
    await page.get_by_label("Your question").fill(text)
    await page.get_by_role("button", name="Ask", exact=True).click()


async def test_a_typed_question_is_answered_word_by_word_with_evidence(show: Show):
    async with show.visit(init=WATCH_WORDS) as page:
        await expect(page.locator("#via")).to_have_text("WebRTC")
        await expect(page.locator("#link")).to_have_text("connected")
        await ask(page, "What is there now, and who came by before?")
        await expect(page.locator(".sighting")).to_have_count(4)
        final = (await page.locator(".said").inner_text()).strip()
        assert re.match(r"There is .+\. Before that, two people crossed from the left\.$", final)
        said = await page.evaluate("window.said")
        assert len(said) > 5 and all(later.startswith(sooner) for sooner, later in pairwise(said))
        for card in await page.locator(".sighting").all():
            assert re.search(r"\d\d:\d\d:\d\d", await card.inner_text()) and "%" in await card.inner_text()
        weights = [await card.locator("b").inner_text() for card in await page.locator(".sighting").all()]
        assert [int(weight.split("\u202f")[0]) for weight in weights] == [46, 28, 17, 9]
        heats = [await page.locator(".sighting canvas").nth(n).evaluate(HEAT) for n in range(4)]
        assert all(heat > 100 for heat in heats)
        pictures = page.locator(".sighting img")
        await until_loaded(page, 4)
        assert await pictures.nth(1).evaluate("image => image.naturalWidth") == 320
        await expect(page.locator(".earlier").first).to_contain_text("What is there now, and who came by before?")
        await page.screenshot(path=ARTEFACTS / "dashboard-1280.png", full_page=True)


async def until_loaded(page: Page, pictures: int) -> None:
    await page.wait_for_function(
        "count => [...document.querySelectorAll('.sighting img')].filter(image => image.naturalWidth).length === count",
        arg=pictures,
    )


async def test_a_phone_has_everything_and_nothing_sticks_out(show: Show):
    async with show.visit(390, 844, scheme="dark") as page:
        await expect(page.locator("#via")).to_have_text("WebRTC")
        await page.get_by_role("button", name="What is there now?").click()
        await expect(page.locator(".sighting")).to_have_count(4)
        await until_loaded(page, 4)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        await page.screenshot(path=ARTEFACTS / "dashboard-390.png", full_page=True)


async def test_evidence_opens_larger_and_closes_by_key(show: Show):
    async with show.visit() as page:
        await ask(page, "What is there?")
        await page.locator(".sighting").first.click()
        await expect(page.locator("#closer img")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator("#closer")).to_be_hidden()


async def test_memory_is_read_with_the_keyboard(show: Show):
    async with show.visit() as page:
        track = page.get_by_role("slider")
        await expect(page.locator("rect.hot").first).to_be_attached()
        assert await page.locator("rect.cold").count() == 44 and await page.locator("rect.warm").count() > 100
        await expect(page.locator("#coverage")).to_contain_text("1 h")
        await track.focus()
        await page.keyboard.press("Home")
        assert "COLD" in str(await track.get_attribute("aria-valuetext"))
        await page.keyboard.press("End")
        await page.keyboard.press("ArrowLeft")
        assert "HOT" in str(await track.get_attribute("aria-valuetext"))
        await expect(page.locator(".detail")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.locator(".detail")).to_be_hidden()
        meters = page.get_by_role("meter")
        assert await meters.nth(0).get_attribute("aria-valuetext") == "131 MiB of 256 MiB"
        assert "hot" in str(await meters.nth(1).get_attribute("aria-valuetext"))
        await page.get_by_role("button", name="5 min").click()
        assert await page.locator("rect.cold").count() == 0


async def test_without_webrtc_the_picture_comes_as_mjpeg(show: Show):
    async with show.visit(init="delete window.RTCPeerConnection;") as page:
        await expect(page.locator("#via")).to_have_text("MJPEG")
        assert await page.locator("#still").evaluate("image => image.naturalWidth") == 480


# The first WHEP offer fails; long waits end when the test says so; a connection can be said to be in any state.
UNLUCKY = """
const fetched = window.fetch.bind(window);
let lucky = false;
window.fetch = (url, ...more) => {
  if (lucky || !String(url).startsWith("/whep/")) return fetched(url, ...more);
  lucky = true;
  return Promise.reject(new Error("no way through"));
};
const later = window.setTimeout.bind(window);
const waits = new Map();
let timers = 0;
window.setTimeout = (act, ms, ...more) => {
  if (ms < 5000) return later(act, ms, ...more);
  waits.set(--timers, act);
  return timers;
};
const forgotten = window.clearTimeout.bind(window);
window.clearTimeout = (timer) => waits.delete(timer) || forgotten(timer);
window.pass = () => {
  for (const [timer, act] of [...waits]) if (waits.delete(timer)) act();
};
window.streams = () => document.getElementById("still").hasAttribute("src");
const Real = window.RTCPeerConnection;
window.RTCPeerConnection = class extends Real {
  constructor(...more) {
    super(...more);
    window.peer = this;
  }
};
window.become = (state) => {
  Object.defineProperty(window.peer, "connectionState", { get: () => state, configurable: true });
  window.peer.dispatchEvent(new Event("connectionstatechange"));
};
"""


async def test_webrtc_comes_back_after_mjpeg_and_a_moment_without_network_is_borne(show: Show):
    async with show.visit(init=UNLUCKY) as page:
        via = page.locator("#via")
        await expect(via).to_have_text("MJPEG")
        await page.evaluate("pass()")
        await expect(via).to_have_text("WebRTC")
        await expect(page.locator("#still")).to_be_hidden()
        assert await page.evaluate("streams()") is False  # nobody streams what nobody sees
        assert await page.evaluate("become('disconnected'); become('connected'); pass(); streams()") is False
        assert await page.evaluate("become('disconnected'); streams()") is False
        assert await page.evaluate("pass(); streams()") is True
        await expect(via).to_have_text("MJPEG")
        await page.evaluate("pass()")
        await expect(via).to_have_text("WebRTC")
        await page.evaluate("become('failed')")
        await expect(via).to_have_text("MJPEG")


async def test_a_camera_that_is_offline_says_why(show: Show):
    async with show.visit(at="/#gate", init="delete window.RTCPeerConnection;") as page:
        await expect(page.locator("#blank")).to_have_text(
            "The camera at 192.0.2.1 does not answer; trying again in 30 s."
        )
        await expect(page.locator("#state")).to_have_text("offline")
        await expect(page.locator("#age")).to_have_text("no picture yet")
        assert "canary" not in await page.content()
        await page.get_by_role("link", name="Yard").click()
        await expect(page.locator("#name")).to_have_text("Yard")
    show.troubles.clear()


async def test_a_picture_that_grows_old_is_called_stale(show: Show):
    yard = cast("Yard", show.station.cameras["yard"].source)
    async with show.visit() as page:
        await expect(page.locator("#stale")).to_be_hidden()
        yard.awake.clear()
        await expect(page.locator("#stale")).to_be_visible()
        yard.awake.set()
        await expect(page.locator("#stale")).to_be_hidden()


async def test_what_people_and_models_say_is_never_html(show: Show):
    attack = "<img src=x onerror='window.owned=1'><script>window.owned=1</script>"
    async with show.visit() as page:
        await ask(page, attack)
        await expect(page.locator(".sighting")).to_have_count(4)
        await expect(page.locator(".asked")).to_have_text(attack)
        await expect(page.locator(".earlier b").first).to_have_text(attack)
        assert await page.locator("img[src=x]").count() == 0
        assert await page.evaluate("window.owned") is None


async def test_failures_are_told_in_sentences_and_the_question_stays(show: Show):
    async with show.visit() as page:
        await ask(page, "fail")
        await expect(page.locator(".notice.bad").first).to_contain_text("The model could not answer")
        await expect(page.get_by_label("Your question")).to_have_value("fail")
        show.troubles.clear()  # the browser logs the status of the failed request


async def test_an_answer_can_be_stopped(show: Show):
    async with show.visit() as page:
        await ask(page, "slowly")  # a thousand words, 50 ms each: it cannot be over before it is stopped
        await expect(page.locator(".said")).to_contain_text("so so")
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator(".notice.bad").first).to_have_text("Stopped.")
        await expect(page.get_by_role("button", name="Ask", exact=True)).to_be_visible()
        await until(lambda: show.station.desk.open_questions == 0)
        for _ in range(int(PATIENCE_S / 0.05)):  # the journal is written by its own thread
            status = (await show.station.journal.latest(1))[0].status
            if status == "rejected":
                break
            await asyncio.sleep(0.05)
        assert status == "rejected"


async def test_an_earlier_answer_comes_back_with_its_evidence(show: Show):
    async with show.visit() as page:
        await ask(page, "What was it, just now?")
        await expect(page.locator(".sighting")).to_have_count(4)
        await page.reload()
        await page.locator(".earlier", has_text="What was it, just now?").first.click()
        await expect(page.locator(".sighting")).to_have_count(4)
        assert await page.locator(".asked").inner_text() == "What was it, just now?"


async def test_the_api_is_shown_without_help_from_elsewhere(show: Show):
    async with show.visit(at="/docs") as page:
        await page.locator("summary", has_text="/v1/chat/completions").click()
        await expect(page.locator("details[open] table")).to_contain_text("messages")
        await expect(page.locator("details[open] .inside")).to_contain_text("top_p")  # what has no effect is said
        await page.screenshot(path=ARTEFACTS / "docs-1280.png")


async def test_a_server_that_comes_back_is_found_again(show: Show):
    app = make_app(show.station, show.config)
    async with serving(app, "127.0.0.1:0") as url:
        page = await show.browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        await page.goto(url)
        await expect(page.locator("#link")).to_have_text("connected")
    await expect(page.locator("#link")).to_have_text("connection lost, trying again")
    async with serving(app, url.removeprefix("http://")):
        await expect(page.locator("#link")).to_have_text("connected")
        await expect(page.locator("#via")).to_have_text("WebRTC")  # the picture has come back as well
        await ask(page, "Still there?")
        await expect(page.locator(".said")).to_contain_text("There is")
    await page.close()
