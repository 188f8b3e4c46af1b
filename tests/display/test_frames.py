"""What a viewer is sent, put together again as a browser does."""

from __future__ import annotations

import io
import struct
import time

import pytest
from PIL import Image

from labkernel.display import FrameBuffer, Frames, Screen, start
from tests.support.screens import program, until, wait_for_window


class Canvas:
    """A viewer."""

    def __init__(self, screen: Screen) -> None:
        self.picture = Image.new("RGB", (screen.width, screen.height))
        self.formats: list[str | None] = []

    def draw(self, message: bytes) -> tuple[int, int, int, int]:
        x, y, width, height = struct.unpack_from("<4H", message)
        part = Image.open(io.BytesIO(message[8:]))
        assert part.size == (width, height)
        self.formats.append(part.format)
        self.picture.paste(part, (x, y))
        return x, y, width, height


def test_first_all_then_what_changes(screen: Screen) -> None:
    pixels = FrameBuffer(screen)
    frames, canvas = Frames(pixels), Canvas(screen)
    first = frames.next()
    assert first
    assert canvas.draw(first) == (0, 0, 480, 360)
    assert frames.next() is None
    with program(screen, "xclock"):
        clock = wait_for_window(screen, "xclock")
        until(lambda: (message := frames.next()) and canvas.draw(message), "nothing is sent")
        time.sleep(0.3)
        while message := frames.next():
            _, _, width, height = canvas.draw(message)
            assert (width, height) <= (clock.width + 2, clock.height + 2)
    until(lambda: (message := frames.next()) and canvas.draw(message), "nothing is sent")
    time.sleep(0.2)
    while message := frames.next():
        canvas.draw(message)
    assert canvas.picture.tobytes() == pixels.picture().tobytes()
    assert set(canvas.formats) == {"PNG"}
    pixels.close()


class Film:
    """Pictures that PNG does not make small, in place of a screen's pixels."""

    width, height, stride = 400, 300, 1600

    def __init__(self) -> None:
        self.pixels = b""
        self.turn()

    def turn(self) -> None:
        grey = Image.effect_noise((400, 300), 90)
        self.pixels = Image.merge("RGBX", [grey, grey, grey, Image.new("L", (400, 300))]).tobytes()

    def read(self) -> bytes:
        return self.pixels

    picture_of = FrameBuffer.picture_of
    changed = FrameBuffer.changed
    _grey = FrameBuffer._grey


def test_a_film_goes_as_jpeg_and_its_last_picture_exactly() -> None:
    film = Film()
    frames = Frames(film)  # type: ignore[arg-type]
    formats = []
    for _ in range(3):
        message = frames.next()
        assert message
        formats.append(Image.open(io.BytesIO(message[8:])).format)
        film.turn()
    assert formats == ["PNG", "JPEG", "JPEG"]
    message = frames.next()
    assert message
    assert frames.next() is None
    time.sleep(0.35)
    message = frames.next()
    assert message
    last = Image.open(io.BytesIO(message[8:]))
    assert last.format == "PNG"
    assert last.tobytes() == film.picture_of(film.pixels).tobytes()
    time.sleep(0.35)
    assert frames.next() is None


@pytest.mark.parametrize("size", [(1024, 768)])
def test_looking_for_changes_takes_no_time_to_speak_of(size: tuple[int, int]) -> None:
    screen = start(*size)
    pixels = FrameBuffer(screen)
    frames = Frames(pixels)
    frames.next()
    begun = time.process_time()
    for _ in range(100):
        assert frames.next() is None
    assert time.process_time() - begun < 0.5  # 5 ms each; it is 0.2
    pixels.close()
    screen.stop()
