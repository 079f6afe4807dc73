"""A real browser: it publishes its camera from the /publish page, and watches it over WHEP.

The browser's camera is a recording of known colours, so what arrives can be compared with the truth.
"""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from playwright.async_api import Page

from stream.clock import Clock
from stream.sources.webrtc import WhipSource
from tests.servers.chromium import ARTEFACTS, CAMERA, FLAGS, browser, visit
from tests.stream.rtc.house import House, MovingBox, open_house, until

DENY = "--use-fake-ui-for-media-stream=deny"
LEFT, RIGHT = (200, 40, 40), (40, 60, 190)

WATCH = """async (address) => {
  const peer = new RTCPeerConnection();
  window.viewer = peer;
  peer.addTransceiver("video", {direction: "recvonly"});
  const video = document.createElement("video");
  video.muted = true;
  peer.ontrack = (event) => { video.srcObject = new MediaStream([event.track]); video.play(); };
  await peer.setLocalDescription(await peer.createOffer());
  const headers = {"Content-Type": "application/sdp"};
  const reply = await fetch(address, {method: "POST", headers, body: peer.localDescription.sdp});
  if (reply.status !== 201) return {status: reply.status};
  window.session = reply.headers.get("Location");
  await peer.setRemoteDescription({type: "answer", sdp: await reply.text()});
  const shown = [];
  while (shown.length < 8) {
    await new Promise((resolve) => video.requestVideoFrameCallback(resolve));
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    const pen = canvas.getContext("2d");
    pen.drawImage(video, 0, 0);
    const row = pen.getImageData(0, 120, canvas.width, 1).data;
    let left = -1;
    for (let x = 0; x < canvas.width && left < 0; x++) if (row[4 * x] > 170 && row[4 * x + 1] < 90) left = x;
    shown.push(left);
  }
  return {status: reply.status, width: video.videoWidth, height: video.videoHeight, shown};
}"""


def recording(path: Path) -> Path:
    """Half a second of motion JPEG: the left half red, the right half blue."""
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[:, :320], picture[:, 320:] = LEFT, RIGHT
    with av.open(str(path), "w", format="mjpeg") as output:
        stream = output.add_stream("mjpeg", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for _ in range(12):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def colours(house: House) -> tuple[np.ndarray, np.ndarray]:
    frame = house.station.cameras["phone"].latest
    assert frame is not None
    middle = frame.rgb.shape[1] // 2
    halves = (frame.rgb[40:-40, 40 : middle - 40], frame.rgb[40:-40, middle + 40 : -40])
    left, right = (half.reshape(-1, 3).mean(0) for half in halves)
    return left, right


async def test_a_browser_publishes_its_camera(tmp_path: Path) -> None:
    flag = f"--use-file-for-fake-video-capture={recording(tmp_path / 'camera.mjpeg')}"
    ARTEFACTS.mkdir(exist_ok=True)
    async with open_house() as house, browser(*CAMERA, flag) as chromium:
        source, agent = house.station.source("phone"), house.station.cameras["phone"]
        page, troubles = await visit(chromium, f"{house.url}/publish?camera=phone")
        await page.wait_for_selector("#camera option", state="attached")
        await page.click("#start")
        await page.wait_for_selector("#state[data-state=live]")
        await until(lambda: len(agent.frames) >= 5)
        left, right = colours(house)
        assert np.abs(left - LEFT).max() < 30
        assert np.abs(right - RIGHT).max() < 30
        assert np.abs(left - RIGHT).max() > 80  # the halves are not mirrored
        await page.wait_for_selector("#received:has-text('receives')")
        await page.wait_for_selector("#numbers:has-text('640')")
        await page.screenshot(path=ARTEFACTS / "publish.png")
        await page.set_viewport_size({"width": 390, "height": 844})
        overflow = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert overflow <= 0  # nothing sticks out on a phone
        await page.screenshot(path=ARTEFACTS / "publish-phone.png", full_page=True)

        await page.check("input[value='640x360']")  # while on air: another picture, the same session
        await until(lambda: agent.latest is not None and agent.latest.rgb.shape[:2] == (360, 640))
        assert source.state.reconnects == 0

        second, _ = await visit(chromium, f"{house.url}/publish")
        await second.wait_for_selector("#camera option", state="attached")
        await second.click("#start")
        await second.wait_for_selector("#notice.bad")
        assert "already" in await second.inner_text("#notice")
        await second.close()

        await page.click("#stop")
        await until(lambda: source.sessions == 0)
        assert source.state.state == "waiting"
        # whichever arrives first, the DELETE or the end of the peer
        assert source.state.reason.startswith(("The publisher hung up", "The publisher stopped"))
        await page.click("#start")
        await page.wait_for_selector("#state[data-state=live]")
        await until(lambda: source.state.state == "online")
        await page.close()  # the page says goodbye on its way out, or the peer is missed soon after
        await until(lambda: source.sessions == 0)
        assert not troubles, troubles


async def test_a_browser_watches() -> None:
    async with open_house(box=MovingBox()) as house, browser(*FLAGS) as chromium:
        page, _ = await visit(chromium, f"{house.url}/publish")
        seen = await page.evaluate(WATCH, "/whep/box")
        assert (seen["status"], seen["width"], seen["height"]) == (201, 320, 240)
        assert len({left for left in seen["shown"] if left >= 0}) >= 4  # the box moves
        assert len(house.viewers) == 1
        assert await page.evaluate("fetch(window.session, {method: 'DELETE'}).then((reply) => reply.status)") == 200
        assert len(house.viewers) == 0
        await page.evaluate(WATCH, "/whep/box")
        await page.close()  # without a word
        await until(lambda: len(house.viewers) == 0)


async def said(page: Page) -> str:
    await page.wait_for_selector("#notice.bad")
    return await page.inner_text("#notice")


async def test_a_camera_that_is_denied_is_said() -> None:
    async with open_house() as house, browser(*FLAGS, "--use-fake-device-for-media-stream", DENY) as chromium:
        page, _ = await visit(chromium, f"{house.url}/publish")
        await page.wait_for_selector("#camera option", state="attached")
        await page.click("#start")
        assert "Allow it for this page" in await said(page)
        assert await page.is_visible("#start")


async def test_what_else_stands_in_the_way_is_said() -> None:
    async with open_house(hosts=frozenset({"camera.example"})) as house, browser(*FLAGS) as chromium:
        page, _ = await visit(chromium, f"{house.url}/publish")
        await page.wait_for_selector("#camera option", state="attached")
        await page.click("#start")
        assert "no camera" in await said(page)
        port = house.url.rsplit(":", 1)[1]
        page, _ = await visit(chromium, f"http://camera.example:{port}/publish")
        assert "https" in await said(page)
        assert await page.is_disabled("#start")
        assert house.station.source("phone").sessions == 0


async def test_a_house_without_a_whip_camera_says_so() -> None:
    async with open_house(box=MovingBox()) as house, browser(*CAMERA) as chromium:
        page, _ = await visit(chromium, f"{house.url}/publish")
        await page.wait_for_selector("#notice.bad")
        assert "source: whip" in await page.inner_text("#notice")


async def test_the_page_opens_for_the_camera_it_was_asked_for() -> None:
    async with (
        open_house(phone=WhipSource(Clock()), door=WhipSource(Clock())) as house,
        browser(*CAMERA) as chromium,
    ):
        for camera in house.station.cameras:
            page, _ = await visit(chromium, f"{house.url}/publish?camera={camera}")
            await page.wait_for_selector("#camera option", state="attached")
            assert await page.input_value("#camera") == camera
