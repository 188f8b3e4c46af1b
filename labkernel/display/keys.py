"""Browsers' names for keys, in X's: `KeyboardEvent.key` to keysym (X11/keysymdef.h)."""

from __future__ import annotations

_NAMES = {
    "Backspace": 0xFF08,
    "Tab": 0xFF09,
    "Enter": 0xFF0D,
    "Pause": 0xFF13,
    "ScrollLock": 0xFF14,
    "Escape": 0xFF1B,
    "Home": 0xFF50,
    "ArrowLeft": 0xFF51,
    "ArrowUp": 0xFF52,
    "ArrowRight": 0xFF53,
    "ArrowDown": 0xFF54,
    "PageUp": 0xFF55,
    "PageDown": 0xFF56,
    "End": 0xFF57,
    "PrintScreen": 0xFF61,
    "Insert": 0xFF63,
    "ContextMenu": 0xFF67,
    "Delete": 0xFFFF,
    "Shift": 0xFFE1,
    "Control": 0xFFE3,
    "Alt": 0xFFE9,
    "Meta": 0xFFEB,
    **{f"F{number}": 0xFFBD + number for number in range(1, 25)},
}
SHIFT = _NAMES["Shift"]


def keysym(key: str) -> int | None:
    """The keysym of a key by its name or by the one character that it types; None for all others.

    CapsLock, AltGraph and dead keys are of that kind: the browser says which characters they make.
    """
    if len(key) != 1:
        return _NAMES.get(key)
    code = ord(key)
    if code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000:
        return None
    # Latin-1 has its own keysyms; every other character of Unicode is its number plus a bit.
    return code if code < 0x100 else 0x01000000 + code
