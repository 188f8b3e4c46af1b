"""A screen's pixels: the file that Xvfb draws into (xwd's format), mapped into memory."""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

from labkernel.display.screen import Screen

if TYPE_CHECKING:
    from PIL.Image import Image

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom lie outside."""

# X11/XWDFile.h: 25 numbers of 32 bits, big-endian, and colours of 12 bytes after them.
_HEADER = struct.Struct(">25I")
_HEADER_SIZE, _BYTES_PER_LINE, _COLOURS = 0, 12, 19


class FrameBuffer:
    """The pixels of a screen, 32 bits each: blue, green, red, nothing. Raises DisplayError if it has gone."""

    def __init__(self, screen: Screen) -> None:
        self.width, self.height = screen.width, screen.height
        try:
            with screen.frame_buffer.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        except (OSError, ValueError):
            raise screen.gone() from None
        header = _HEADER.unpack_from(self._map)
        self.stride: int = header[_BYTES_PER_LINE]
        self._start: int = header[_HEADER_SIZE] + header[_COLOURS] * 12

    def read(self) -> bytes:
        """All pixels as they are now: `height` lines of `stride` bytes."""
        return self._map[self._start : self._start + self.stride * self.height]

    def picture(self, box: Box | None = None) -> Image:
        """What is seen now in an area (else on the whole screen), as RGB. The area is cut to the screen."""
        return self.picture_of(self.read(), box)

    def picture_of(self, pixels: bytes, box: Box | None = None) -> Image:
        """The same for what `read` returned."""
        from PIL import Image

        left, top, right, bottom = box or (0, 0, self.width, self.height)
        left, top, right, bottom = max(0, left), max(0, top), min(self.width, right), min(self.height, bottom)
        size = (max(0, right - left), max(0, bottom - top))
        start = top * self.stride + left * 4
        if not all(size):
            return Image.new("RGB", size)
        return Image.frombuffer("RGB", size, pixels[start:], "raw", "BGRX", self.stride, 1)

    def changed(self, before: bytes, after: bytes) -> Box | None:
        """The smallest area in which two results of `read` differ."""
        from PIL import ImageChops

        if before == after:
            return None
        first, second = (self._grey(pixels) for pixels in (before, after))
        box = ImageChops.difference(first, second).getbbox()
        if box is None:
            return None
        left, top, right, bottom = box
        return left // 4, top, min(self.width, -(-right // 4)), bottom

    def _grey(self, pixels: bytes) -> Image:
        """As if each byte were a pixel."""
        from PIL import Image

        return Image.frombuffer("L", (self.stride, self.height), pixels, "raw", "L", 0, 1)

    def close(self) -> None:
        self._map.close()
