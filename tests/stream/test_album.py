"""Constant size for infinite time: dense now, sparse long ago."""

import io
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stream.album import Album
from stream.flow import Frame
from tests.fakes import COLOURS, frame, picture_at, the


def test_the_nearest_picture_comes_back_with_its_own_time() -> None:
    album = Album(2**20, every_s=0.5)
    for index, colour in enumerate(("red", "green", "blue")):
        assert album.add(frame(index, 10.0 * index, colour))
    jpeg, time_s = picture_at(album, 11.0)
    assert time_s == 10.0
    mean = np.asarray(Image.open(io.BytesIO(jpeg))).reshape(-1, 3).mean(0)
    assert np.abs(mean - COLOURS["green"]).max() < 6  # JPEG
    assert picture_at(album, -5.0)[1] == 0.0
    assert picture_at(album, 1e9)[1] == 20.0


def test_an_empty_album_has_nothing() -> None:
    album = Album(2**20)
    assert album.jpeg(1.0) is None
    assert album.span_s is None


def test_pictures_too_close_in_time_are_not_kept() -> None:
    album = Album(2**20, every_s=1.0)
    assert [album.add(frame(i, 0.25 * i)) for i in range(9)] == [i % 4 == 0 for i in range(9)]


def test_a_wide_frame_becomes_small_and_keeps_its_shape() -> None:
    album = Album(2**20, width=64)
    rgb = np.zeros((90, 160, 3), np.uint8)
    album.add(Frame(0, 0.0, 0.0, rgb))
    assert Image.open(io.BytesIO(picture_at(album, 0.0)[0])).size == (64, 36)


def test_a_day_is_thinned_by_age() -> None:
    album = Album(16_000, every_s=1.0)
    for i in range(900):
        album.add(frame(i, float(i)))
    assert album.bytes <= 16_000
    first, last = the(album.span_s)
    assert (first, last) == (0.0, 899.0)
    times = [picture_at(album, float(i))[1] for i in range(900)]
    kept = sorted(set(times))
    newest_gap = max(b - a for a, b in pairwise(kept[-6:]))
    oldest_gap = max(b - a for a, b in pairwise(kept[:4]))
    assert newest_gap < oldest_gap / 3
    # Negative control: keeping the last ones only would have forgotten the first half.
    assert sum(time_s < 450 for time_s in kept) >= 3


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0.0, 100.0), max_size=25), st.integers(0, 4000))
def test_the_budget_holds_after_every_picture(steps: list[float], budget: int) -> None:
    album = Album(budget, every_s=0.1)
    time_s = 0.0
    for index, step_s in enumerate(steps):
        time_s += step_s
        album.add(frame(index, time_s))
        assert album.bytes <= budget
    album.clear()
    assert (album.bytes, len(album)) == (0, 0)
