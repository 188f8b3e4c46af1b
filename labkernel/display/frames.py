"""What a viewer is sent: the part of the picture that has changed since the last time.

A message is x, y, width and height in pixels (16 bits each, little-endian), then that part as PNG or JPEG.
"""

from __future__ import annotations

import io
import struct
import time

from labkernel.display.frame_buffer import Box, FrameBuffer

LARGE = 100_000
"""Pixels from which on a picture that PNG does not make small (a film, a photograph) goes as JPEG."""
QUIET = 0.3
"""Seconds without a change after which what went as JPEG is sent again, exactly."""

_HEADER = struct.Struct("<4H")


class Frames:
    """The messages for one viewer, who has seen nothing yet."""

    def __init__(self, frame_buffer: FrameBuffer) -> None:
        self._source = frame_buffer
        self._sent: bytes | None = None
        self._is_dense = False  # PNG did not make the last large part small
        self._blurred: Box | None = None  # where the viewer has a JPEG
        self._changed_at = 0.0

    def next(self) -> bytes | None:
        """The message that brings the viewer up to date; None when there is nothing new."""
        pixels = self._source.read()
        box = self._whole if self._sent is None else self._source.changed(self._sent, pixels)
        if box:
            self._sent = pixels
            self._changed_at = time.monotonic()
            return self._message(pixels, box, exact=False)
        if self._blurred and time.monotonic() - self._changed_at > QUIET:
            box, self._blurred = self._blurred, None
            return self._message(pixels, box, exact=True)
        return None

    @property
    def _whole(self) -> Box:
        return 0, 0, self._source.width, self._source.height

    def _message(self, pixels: bytes, box: Box, *, exact: bool) -> bytes:
        left, top, right, bottom = box
        area = (right - left) * (bottom - top)
        picture, packed = self._source.picture_of(pixels, box), io.BytesIO()
        packed.write(_HEADER.pack(left, top, right - left, bottom - top))
        if area >= LARGE and self._is_dense and not exact:
            picture.save(packed, "JPEG", quality=80)
            self._blurred = _around(self._blurred, box)
        else:
            picture.save(packed, "PNG", compress_level=1)
            if area >= LARGE:
                self._is_dense = packed.tell() > area / 2
        return packed.getvalue()


def _around(one: Box | None, other: Box) -> Box:
    """The smallest area that holds both."""
    if one is None:
        return other
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
