"""Offers from strangers: counted before they are parsed, refused in sentences, never a surprise."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream import peer
from stream.clock import HandWoundClock
from stream.offers import CANDIDATES, OFFER_BYTES, OfferRefused, Ration, checked_offer, with_bitrate_hints
from tests.stream.rtc.house import offering

CANDIDATE = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host"


def section(kind: str, direction: str = "sendonly", *more: str) -> list[str]:
    return [f"m={kind} 9 UDP/TLS/RTP/SAVPF 96", f"a=mid:{kind}", *([f"a={direction}"] if direction else []), *more]


def offer(*sections: list[str], session: tuple[str, ...] = ()) -> str:
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", *session]
    return "\r\n".join([*lines, *(line for part in sections for line in part)]) + "\r\n"


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        ("", 400, "not_an_offer"),
        ("hello", 400, "not_an_offer"),
        ("\x00\x01\x02", 400, "not_an_offer"),
        ("v=0\r\n" + "a" * OFFER_BYTES, 413, "offer_too_large"),
        ("v=0\r\n" + "a=x\r\n" * 5000, 400, "offer_too_long"),
        ("v=0\r\na=" + "x" * 5000, 400, "offer_too_long"),
        (offer(section("video", "sendonly", *[CANDIDATE] * 1000)), 400, "too_many_candidates"),
        (offer(), 422, "no_video"),
        (offer(section("audio")), 422, "no_video"),
        (offer(["m=application 9 UDP/DTLS/SCTP webrtc-datachannel"]), 422, "no_video"),
        (offer(section("video"), section("video")), 422, "too_many_tracks"),
        (offer(section("video"), section("audio"), section("audio")), 422, "too_many_tracks"),
        (offer(section("video"), ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel"]), 422, "too_many_tracks"),
        (offer(section("video", "recvonly")), 422, "nothing_sent"),
        (offer(section("video", ""), session=("a=inactive",)), 422, "nothing_sent"),
    ],
)  # fmt: skip
def test_bad_offers_are_refused_with_a_sentence(text: str, status: int, code: str) -> None:
    with pytest.raises(OfferRefused) as refused:
        checked_offer(text, "sends")
    assert (refused.value.status, refused.value.code) == (status, code)
    assert refused.value.message.endswith(".")


def test_a_plain_offer_passes_and_its_direction_is_made_plain() -> None:
    assert "a=sendonly" in checked_offer(offer(section("video"), section("audio")), "sends")
    assert "a=sendrecv" in checked_offer(offer(section("video", "")), "sends")
    with pytest.raises(OfferRefused):
        checked_offer(offer(section("video")), "receives")


def test_names_are_never_looked_up() -> None:
    candidates = [
        "a=candidate:1 1 udp 2113937151 b1b2.local 5000 typ host",
        "a=candidate:2 1 udp 2113937151 intranet.example 5000 typ host",
        "a=candidate:3 1 udp 2113937151 192.0.2.7 5000 typ host",
        "a=candidate:4 1 udp 2113937151 2001:db8::7 5000 typ host",
        "a=candidate:broken",
        "a=end-of-candidates",
    ]
    kept = checked_offer(offer(section("video", "sendonly", *candidates)), "sends")
    assert "192.0.2.7" in kept
    assert "2001:db8::7" in kept
    for gone in (".local", "example", "broken", "end-of-candidates"):
        assert gone not in kept


def test_as_many_candidates_as_allowed_are_kept() -> None:
    many = [f"a=candidate:{n} 1 udp 1 192.0.2.{n} 9 typ host" for n in range(CANDIDATES)]
    assert checked_offer(offer(section("video", "sendonly", *many)), "sends").count("a=candidate") == CANDIDATES


async def test_chromium_gets_its_hints_once_per_codec() -> None:
    async with offering() as publisher, offering(receive=True) as other:
        text = checked_offer(publisher.localDescription.sdp, "sends")
        answer = await peer.answer(peer.new_peer(loopback=True), text, lambda _: None)
        hinted = with_bitrate_hints(answer, 2500, 1500, 4000)
        codecs = sum(" VP8/" in line or " H264/" in line for line in answer.splitlines())
        assert codecs == 3
        assert hinted.count("x-google-min-bitrate=1500") == codecs
        assert not any("apt=" in line and "x-google" in line for line in hinted.splitlines())
        assert other.localDescription.sdp  # a viewer's offer is another thing: it is refused where pictures are wanted
        with pytest.raises(OfferRefused):
            checked_offer(other.localDescription.sdp, "sends")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_any_text_is_an_offer_or_refused(text: str) -> None:
    for prefix in ("", "v=0\r\n", "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\n"):
        with contextlib.suppress(OfferRefused):
            assert checked_offer(prefix + text, "sends").startswith("v=0")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_a_damaged_offer_is_answered_or_refused(data: st.DataObject) -> None:
    """aiortc's parser meets lines that are missing, doubled, swapped and cut: only `OfferRefused` may come out."""
    async with offering() as publisher:
        lines = publisher.localDescription.sdp.splitlines()
    for _ in range(data.draw(st.integers(1, 6))):
        at, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        match data.draw(st.sampled_from(["drop", "double", "swap", "cut", "garble"])):
            case "drop" if len(lines) > 1:
                del lines[at]
            case "double":
                lines.insert(other, lines[at])
            case "swap":
                lines[at], lines[other] = lines[other], lines[at]
            case "cut":
                lines[at] = lines[at][: data.draw(st.integers(0, 12))]
            case _:
                lines[at] += data.draw(st.text(max_size=8))
    connection = peer.new_peer(loopback=True)
    with contextlib.suppress(OfferRefused):
        answer = await peer.answer(connection, checked_offer("\r\n".join(lines), "sends"), lambda _: None)
        assert answer.startswith("v=0")
    await connection.close()


def test_a_ration_is_a_burst_and_then_a_rate() -> None:
    clock = HandWoundClock()
    ration = Ration(clock, burst=3, per_s=0.5)
    assert [ration.take() for _ in range(3)] == [0, 0, 0]
    assert ration.take() == pytest.approx(2.0)
    clock.wind(2.0)
    assert ration.take() == 0
    assert ration.take() > 0
    clock.wind(1000)
    assert [ration.take() == 0 for _ in range(4)] == [True, True, True, False]
