"""Three cameras at once in one process, each through a real transport, and every door to ask them by.

An RTSP camera that plays a real clip, a browser that publishes its camera over WHIP, and a simulated yard. Asked over
MQTT, with the unmodified OpenAI client, and by a person at the page. What is said is the model's affair; that it is
said, by the right camera and with what it rests on, is ours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio
import torch
from openai import AsyncOpenAI
from playwright.async_api import Browser, Page

from stream.cli.serve import Service
from stream.sources.media_clock import SLACK_S
from stream.wire import wall_of
from tests.house.living import PATIENCE_S, answer, client, closed, is_state, living, remembered
from tests.servers.chromium import ARTEFACTS, CAMERA, browser, visit
from tests.servers.mosquitto import Mosquitto, find, free_port
from tests.servers.processes import rtsp_process
from tests.stream.mqtt.parties import Party, extra, settled

CAMERAS = ("front", "phone", "yard")
SECRET = "canary-behind-the-door"
QUESTION = "What is there now?"
LOGIN = f"viewer:{SECRET}"
together = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Whole:
    """The running house and who is around it. Nobody is called stalled because the machine is busy."""

    service: Service
    broker: Mosquitto
    chromium: Browser
    http: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Whole]:
    folder, port = tmp_path_factory.mktemp("whole"), free_port()
    cameras = f"""
  front: {{source: "rtsp://{LOGIN}@127.0.0.1:{port}/cam", name: Front door, stall_s: 120}}
  phone: {{source: whip, name: Phone, stall_s: 120}}
  yard: {{source: "sim://yard?seed=125&fps=4", name: Simulated yard}}
"""
    with Mosquitto(folder / "broker") as broker:
        mqtt = f"mqtt: {{url: {broker.url}}}"
        async with (
            rtsp_process(port, "--fps", "12", "--login", LOGIN),
            living(folder, cameras, mqtt) as service,
            client(service.url) as http,
            browser(*CAMERA) as chromium,
        ):
            await publish(chromium, service.url)
            for camera in CAMERAS:
                await remembered(service, camera, closed)
            yield Whole(service, broker, chromium, http)


async def publish(chromium: Browser, url: str) -> None:
    """A person opens the publish page and presses Start."""
    page, _ = await visit(chromium, f"{url}/publish?camera=phone")
    await page.wait_for_selector("#camera option", state="attached")
    await page.check("input[value='640x360']")
    await page.click("#start")
    await page.wait_for_selector("#state[data-state=live]")


def is_sound(told: Mapping[str, Any], camera: str) -> None:
    """An answer of this camera, with words, and with evidence that is not newer than the answer."""
    assert (told["camera"], told["status"]) == (camera, "ok"), told
    assert told["answer"].strip()
    evidence = told["evidence"]
    assert evidence["sightings"] and evidence["frames"] > 0
    assert sum(sighting["weight"] for sighting in evidence["sightings"]) <= 1.001
    for sighting in evidence["sightings"]:
        assert sum(map(sum, sighting["cells"])) == pytest.approx(1, abs=0.02)
        assert wall_of(sighting["from"]) <= wall_of(sighting["to"]) <= wall_of(evidence["newest_frame_at"]) + 0.002
    assert wall_of(evidence["memory_from"]) < wall_of(evidence["newest_frame_at"])
    # Nothing from the future; the clock of a camera may run ahead of ours by so much.
    assert wall_of(evidence["newest_frame_at"]) <= wall_of(told["answered_at"]) + SLACK_S


@together
async def test_all_three_are_watched_at_once(whole: Whole) -> None:
    for camera in CAMERAS:
        await is_state(whole.service, camera, "online")
    told = (await whole.http.get("/api/v1/cameras")).json()["cameras"]
    assert {camera["id"]: camera["status"]["state"] for camera in told} == dict.fromkeys(CAMERAS, "online")
    # What was chosen while loading holds where the model runs: small operations, one thread each.
    assert await whole.service.station.device.run(torch.get_num_threads) == torch.get_num_threads()
    # Each shows what only it can show: the clip, the browser's test picture, the yard.
    sizes = {camera["id"]: (camera["picture"]["width"], camera["picture"]["height"]) for camera in told}
    assert sizes == {"front": (320, 180), "phone": (640, 360), "yard": (320, 240)}


@together
async def test_asked_over_mqtt(whole: Whole) -> None:
    async with Party(whole.broker, "client/answers", "longwatch/#") as asker:
        for camera in CAMERAS:
            asked = {"id": f"mqtt-{camera}", "question": QUESTION}
            await asker.say(f"longwatch/main/{camera}/ask", asked, reply="client/answers", correlation=camera.encode())
        for _ in CAMERAS:
            message = await asker.hear("client/answers")
            told = json.loads(message.payload)
            is_sound(told, extra(message, "CorrelationData").decode())
            assert told["id"] == f"mqtt-{told['camera']}"
        await settled(asker)
        for camera in CAMERAS:
            heard = [json.loads(words) for words in asker.words_on(f"longwatch/main/{camera}/answer")]
            assert [told["camera"] for told in heard] == [camera]
        assert len(asker.heard) > 6 and not [message for message in asker.heard if SECRET in str(message.payload)]


@together
async def test_asked_with_the_client_that_comes_with_the_broker(whole: Whole) -> None:
    """As anybody with a shell would: `mosquitto_pub`, an answer topic, and a word to know the answer by."""
    async with Party(whole.broker, "client/answers") as asker:
        program = await asyncio.create_subprocess_exec(
            *(find("mosquitto_pub"), "-h", "127.0.0.1", "-p", str(whole.broker.port), "-V", "mqttv5", "-q", "1"),
            *("-t", "longwatch/main/front/ask", "-m", QUESTION),
            *("-D", "publish", "response-topic", "client/answers"),
            *("-D", "publish", "correlation-data", "from the shell"),
        )
        assert await program.wait() == 0
        message = await asker.hear("client/answers")
        is_sound(json.loads(message.payload), "front")
        assert extra(message, "CorrelationData") == b"from the shell"
        assert json.loads(message.payload)["question"] == QUESTION


@together
@pytest.mark.parametrize("camera", CAMERAS)
async def test_asked_with_the_openai_client(whole: Whole, camera: str) -> None:
    async with AsyncOpenAI(base_url=f"{whole.service.url}/v1", api_key="-", max_retries=0) as openai:
        assert camera in [model.id async for model in openai.models.list()]
        plain = await openai.chat.completions.create(model=camera, messages=[{"role": "user", "content": QUESTION}])
        told = (await whole.http.get(f"/api/v1/questions/{plain.id.removeprefix('chatcmpl-')}")).json()
        is_sound(told, camera)
        assert plain.choices[0].message.content == told["answer"]
        assert (plain.model_extra or {})["x_evidence"]["sightings"] == told["evidence"]["sightings"]

        asked = {"model": camera, "messages": [{"role": "user", "content": QUESTION}]}
        chunks = [chunk async for chunk in await openai.chat.completions.create(**asked, stream=True)]  # type: ignore[call-overload]
        told = (await whole.http.get(f"/api/v1/questions/{chunks[0].id.removeprefix('chatcmpl-')}")).json()
        is_sound(told, camera)
        words = [chunk.choices[0].delta.content or "" for chunk in chunks]
        assert "".join(words).strip() == told["answer"]
        assert chunks[-1].choices[0].finish_reason and chunks[-1].x_evidence["sightings"]


@together
async def test_eight_at_once_while_all_go_on_being_watched(whole: Whole) -> None:
    """Frames are counted only while questions are being answered: those seen afterwards prove nothing."""
    desk, agents = whole.service.station.desk, whole.service.station.cameras
    enough = asyncio.Event()

    async def ask_on(camera: str) -> None:
        while not enough.is_set():
            is_sound(await answer(whole.http, camera, QUESTION), camera)

    async def watch() -> None:
        most, before = 0, dict[str, int]()
        grown = set[str]()
        while most < 8 or grown < set(CAMERAS):
            for camera in CAMERAS:
                frames = (await agents[camera].holdings()).frames_seen
                if desk.running_questions:
                    most = max(most, desk.running_questions)
                    if frames > before.setdefault(camera, frames):
                        grown.add(camera)
                else:
                    before.pop(camera, None)  # nobody asked: what was seen meanwhile does not count
        enough.set()

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(ask_on(CAMERAS[number % 3]))
        group.create_task(watch())


async def ask_on_the_page(page: Page, camera: str, question: str) -> str:
    """Choose the camera, type, press Ask, read until the evidence is there; gives the words as they were added."""
    await page.click(f"#cameras a[href='#{camera}']")
    await page.wait_for_selector(f"#cameras a[href='#{camera}'][aria-current=true]")
    await page.locator("#question").press_sequentially(question)
    await page.click("#send")
    await page.wait_for_selector("#answer[aria-busy=false] .evidence li")
    assert await page.inner_text("#answer .asked") == question
    return "".join(await page.locator("#answer .said .piece").all_text_contents())


@together
async def test_asked_on_the_page(whole: Whole) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    page, troubles = await visit(whole.chromium, whole.service.url, 1440, 1100)
    for camera in CAMERAS:
        words = await ask_on_the_page(page, camera, QUESTION)
        told = (await whole.http.get("/api/v1/questions", params={"camera": camera, "limit": 1})).json()["questions"][0]
        told = (await whole.http.get(f"/api/v1/questions/{told['id']}")).json()
        is_sound(told, camera)
        assert (told["question"], told["source"]) == (QUESTION, "page")
        assert words.strip() == told["answer"]
        assert await page.locator("#answer .sighting canvas.heat").count() == len(told["evidence"]["sightings"])
        await page.wait_for_selector(f"#history .earlier:has-text('{QUESTION}')")
        await page.wait_for_selector("#picture[data-via=WebRTC]")
        await page.wait_for_function("document.getElementById('video').videoWidth > 0")
        await page.wait_for_selector("#timeline :first-child")
        await page.screenshot(path=ARTEFACTS / f"house-{camera}.png", full_page=True)
    await page.set_viewport_size({"width": 390, "height": 844})
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    await page.screenshot(path=ARTEFACTS / "house-390.png", full_page=True)
    assert not troubles, troubles
    await page.close()


@together
async def test_what_strangers_send_disturbs_nobody(whole: Whole) -> None:
    """Garbage at every door, each with its refusal, and everything goes on."""
    sdp = {"Content-Type": "application/sdp"}
    garbage = await whole.http.post("/whip/phone", content=b"v=0\r\n\xff\xfegarbage" * 200, headers=sdp)
    assert garbage.status_code == 400 and "detail" in garbage.json()
    long = await answer(whole.http, "yard", "x" * 1_000_000)
    assert long["http"] == 413 and "8192" in long["detail"]
    attic = await answer(whole.http, "attic", QUESTION)
    assert attic["http"] == 404 and "yard" in attic["detail"]
    async with Party(whole.broker, "client/answers", "longwatch/main/+/answer") as asker:
        await asker.say("longwatch/main/yard/ask", b"x" * (10 << 20), reply="client/answers")
        await asker.say("longwatch/main/yard/ask", b"y" * (1 << 16), reply="client/answers")
        refused = await asker.hear_json("client/answers", status="rejected")
        assert refused["error"]["code"] == "question_too_long"
        await asker.say("longwatch/main/attic/ask", QUESTION, reply="client/answers")
        refused = await asker.hear_json("client/answers", status="rejected")
        assert refused["error"]["code"] == "unknown_camera"
        await asker.say("longwatch/main/phone/ask", QUESTION, reply="client/answers")
        is_sound(await asker.hear_json("client/answers", status="ok"), "phone")
    for camera in CAMERAS:
        assert whole.service.station.cameras[camera].state.state == "online"
        assert whole.service.station.cameras[camera].state.reconnects == 0
