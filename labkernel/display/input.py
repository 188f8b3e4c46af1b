"""Pointer, buttons and keys, as if a hand had moved them (the extension XTEST)."""

from __future__ import annotations

from collections import deque
from typing import Any

from labkernel.display.connection import Connection
from labkernel.display.errors import DisplayError
from labkernel.display.keys import SHIFT, keysym

_KEY_PRESS, _KEY_RELEASE, _BUTTON_PRESS, _BUTTON_RELEASE, _MOTION = 2, 3, 4, 5, 6
_LAST_BUTTON = 7
"""1 to 3 are buttons, 4 to 7 the wheel: up, down, left, right."""


class Input:
    """One hand on a screen's pointer and keyboard. Let go with `release`."""

    def __init__(self, connection: Connection) -> None:
        self._display: Any = connection.display
        screen = connection.root.get_geometry()
        self._width, self._height = screen.width, screen.height
        self._buttons: set[int] = set()
        self._keys: dict[str, int] = {}  # what is held: the hand's own name for a key -> keycode
        self._shift = self._display.keysym_to_keycode(SHIFT)
        self._spare = _spare_keycodes(self._display)  # the one least lately used comes first

    def move(self, x: int, y: int) -> None:
        """Move the pointer to a place in pixels; what lies outside counts as the edge."""
        x, y = min(max(0, x), self._width - 1), min(max(0, y), self._height - 1)
        self._fake(_MOTION, 0, x=x, y=y)
        self._display.flush()

    def button(self, number: int, pressed: bool) -> None:
        """Press or release a button where the pointer is: 1 left, 2 middle, 3 right, 4 to 7 the wheel."""
        if 1 <= number <= _LAST_BUTTON:
            self._fake(_BUTTON_PRESS if pressed else _BUTTON_RELEASE, number)
            (self._buttons.add if pressed else self._buttons.discard)(number)
            self._display.flush()

    def click(self, x: int, y: int, number: int = 1) -> None:
        """Move there, press and release."""
        self.move(x, y)
        self.button(number, True)
        self.button(number, False)

    def key(self, key: str, pressed: bool, code: str | None = None) -> None:
        """Press or release a key, named as `KeyboardEvent.key` is: "a", "é", "Enter".

        `code` is what the same key is called both times (`KeyboardEvent.code`): between press and release the
        character may become another. A key pressed again without a release repeats.
        """
        code = code or key
        held = self._keys.pop(code, None)
        if held is not None:
            self._fake(_KEY_RELEASE, held)
        if pressed:
            if (
                key == "AltGraph"
            ):  # some systems say that it is Control and Alt, which the character is not for
                for name in ("Control", "Alt"):
                    self._let_go(self._display.keysym_to_keycode(keysym(name)))
            symbol = keysym(key)
            if symbol is not None:
                self._keys[code] = self._press(symbol, is_character=len(key) == 1)
        self._display.flush()

    def type(self, text: str) -> None:
        """Press and release the key of each character; a newline is Enter, a tab is Tab."""
        for character in text:
            key = {"\n": "Enter", "\t": "Tab"}.get(character, character)
            self.key(key, True)
            self.key(key, False)

    def release(self) -> None:
        """Let go of everything that is held."""
        for keycode in self._keys.values():
            self._fake(_KEY_RELEASE, keycode)
        for number in self._buttons:
            self._fake(_BUTTON_RELEASE, number)
        self._keys.clear()
        self._buttons.clear()
        self._display.flush()

    def _press(self, symbol: int, *, is_character: bool) -> int:
        keycode, level = self._find(symbol)
        holds_shift = self._shift in self._keys.values()
        # The browser's keyboard may have the character without Shift where X's has it with Shift.
        if is_character and bool(level) != holds_shift:
            self._fake(_KEY_RELEASE if holds_shift else _KEY_PRESS, self._shift)
            self._fake(_KEY_PRESS, keycode)
            self._fake(_KEY_PRESS if holds_shift else _KEY_RELEASE, self._shift)
        else:
            self._fake(_KEY_PRESS, keycode)
        return int(keycode)

    def _find(self, symbol: int) -> tuple[int, int]:
        """The key of a keysym, and whether it is the key's first character or, with Shift, its second."""
        self._read_mapping()
        found = self._known(symbol)
        if found is None:
            keycode = self._spare[0]
            self._spare.rotate(-1)
            self._display.change_keyboard_mapping(keycode, [(symbol, symbol)])
            self._display.sync()
            self._read_mapping()
            found = (keycode, 0)
        return found

    def _known(self, symbol: int) -> tuple[int, int] | None:
        places = self._display.keysym_to_keycodes(symbol)
        return next(((keycode, level) for keycode, level in places if level < 2), None)

    def _read_mapping(self) -> None:
        """Keep up with what others, or we, have changed in it."""
        from Xlib.X import MappingNotify

        while self._display.pending_events():
            event = self._display.next_event()
            if event.type == MappingNotify:
                self._display.refresh_keyboard_mapping(event)

    def _let_go(self, keycode: int) -> None:
        for code, held in list(self._keys.items()):
            if held == keycode:
                self._fake(_KEY_RELEASE, held)
                del self._keys[code]

    def _fake(self, event: int, detail: int, **place: int) -> None:
        from Xlib.ext.xtest import fake_input

        fake_input(self._display, event, detail, **place)


def _spare_keycodes(display: Any) -> deque[int]:
    """Keys that type nothing: they are given the characters that the keyboard's layout lacks."""
    first = display.display.info.min_keycode
    count = display.display.info.max_keycode - first + 1
    mapping = display.get_keyboard_mapping(first, count)
    spare = deque(first + index for index, symbols in enumerate(mapping) if not any(symbols))
    if not spare:
        raise DisplayError("the keyboard of this screen has no key to spare")
    return spare
