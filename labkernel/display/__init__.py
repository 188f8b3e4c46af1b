"""A virtual screen for programs with windows: the X server Xvfb, its pixels, its windows, keys and pointer.

A screen belongs to the process that started it (a notebook's kernel) and ends with it. Others of the same
user find it by a file: the Jupyter server that shows it, the checks that look at it.
"""

from __future__ import annotations

from labkernel.display.access import Access, access, change_access
from labkernel.display.connection import Connection, connect, open_display
from labkernel.display.errors import DisplayError
from labkernel.display.frame_buffer import FrameBuffer
from labkernel.display.frames import Frames
from labkernel.display.input import Input
from labkernel.display.screen import Screen, find, screens, start
from labkernel.display.windows import Window, windows

__all__ = [
    "Access",
    "Connection",
    "DisplayError",
    "FrameBuffer",
    "Frames",
    "Input",
    "Screen",
    "Window",
    "access",
    "change_access",
    "connect",
    "find",
    "open_display",
    "screens",
    "start",
    "windows",
]
