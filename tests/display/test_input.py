"""Keys, pointer and buttons, as a real program (xev) receives them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from labkernel.display import Input, Screen, connect
from labkernel.display.keys import keysym
from tests.support.screens import Program, program, until, wait_for_window


@dataclass
class Receiver:
    """xev with the keyboard's attention, and a hand on that keyboard."""

    hand: Input
    xev: Program

    def events(self) -> list[str]:
        """What xev has received until all was let go: "press a", "release button 1"."""
        self.hand.release()
        self.hand.key("F9", True)
        self.hand.key("F9", False)
        until(lambda: self._read()[-1:] == ["release F9"], "not all has come")
        return self._read()[:-2]

    def _read(self) -> list[str]:
        return [event for text in self.xev.said.split("\n\n") if (event := _read(text))]

    def typed(self) -> str:
        """The characters that were typed."""
        return "".join(event.removeprefix("press ") for event in self.events() if event.startswith("press"))


def _read(text: str) -> str | None:
    kind = re.match(r"(Key|Button|Motion)(Press|Release|Notify) event", text)
    if not kind:
        return None
    if kind[1] == "Motion":
        place = re.search(r"\((\d+),(\d+)\), root", text)
        return f"at {place[1]},{place[2]}" if place else None
    if kind[1] == "Button":
        button = re.search(r"button (\d+)", text)
        return f"{kind[2].lower()} button {button[1]}" if button else None
    character, name = (
        re.search(r'bytes: \(.*?\) "(.*?)"\n', text, re.DOTALL),
        re.search(r"0x\w+, (\w+)\)", text),
    )
    visible = character[1] if character and character[1].isprintable() else ""
    return f"{kind[2].lower()} {visible or (name[1] if name else '')}"


@pytest.fixture
def receiver(screen: Screen) -> Iterator[Receiver]:
    with program(screen, "xev", "-event", "keyboard", "-event", "button", "-event", "mouse") as xev:
        window = wait_for_window(screen, "Event Tester")
        with connect(screen) as connection:
            hand = Input(connection)
            hand.move(window.x + 100, window.y + 120)  # without a manager the keys go where the pointer is
            yield Receiver(hand, xev)


def test_letters_of_every_kind(receiver: Receiver) -> None:
    """Those of the layout, those that need Shift there, and those that it does not have."""
    text = "aZ1!~é€ßЖ你😀é"
    receiver.hand.type(text)
    assert receiver.typed().replace("Shift_L", "") == text


def test_more_characters_than_there_are_keys_to_spare(receiver: Receiver) -> None:
    """A program reads the layout when it comes to it: a key is given another character as late as can be."""
    text = "".join(chr(number) for number in range(0x3B1, 0x3B1 + 16))
    receiver.hand.type(text)
    time.sleep(0.3)
    receiver.hand.type("ЖЮЯ" * 2 + text[:2])
    assert receiver.typed() == text + "ЖЮЯ" * 2 + text[:2]


def test_shift_of_another_keyboard(receiver: Receiver) -> None:
    """On a German one, Shift and 7 are a slash, which is a key of its own on the screen's."""
    receiver.hand.key("Shift", True, "ShiftLeft")
    receiver.hand.key("/", True, "Digit7")
    receiver.hand.key("/", False, "Digit7")
    receiver.hand.key("X", True, "KeyX")
    receiver.hand.key("Shift", False, "ShiftLeft")
    receiver.hand.key("x", False, "KeyX")  # the browser names it by what it would type now
    events = receiver.events()
    assert [event for event in events if "Shift" not in event and event.startswith("press")] == [
        "press /",
        "press X",
    ]
    assert "release x" in events


def test_alt_gr_is_not_control(receiver: Receiver) -> None:
    receiver.hand.key("Control", True, "ControlLeft")
    receiver.hand.key("AltGraph", True, "AltRight")
    receiver.hand.key("@", True, "KeyQ")
    events = receiver.events()
    assert events.index("release Control_L") < events.index("press @")


def test_a_key_that_stays_pressed_repeats_and_is_let_go(receiver: Receiver) -> None:
    for _ in range(3):
        receiver.hand.key("ArrowLeft", True)
    receiver.hand.button(1, True)
    assert (
        receiver.events()[-7:]
        == [
            *["press Left", "release Left"] * 2,
            "press Left",
            "press button 1",
            "release Left",
            "release button 1",
        ][-7:]
    )


def test_buttons_wheel_and_places(receiver: Receiver, screen: Screen) -> None:
    window = wait_for_window(screen, "Event Tester")
    receiver.hand.click(window.x + 90, window.y + 120, 3)
    receiver.hand.button(4, True)
    receiver.hand.button(4, False)
    receiver.hand.button(99, True)
    events = receiver.events()
    assert "at 90,120" in events
    assert [event for event in events if "button" in event] == [
        *["press button 3", "release button 3", "press button 4", "release button 4"]
    ]


def test_the_pointer_stays_on_the_screen(screen: Screen) -> None:
    with connect(screen) as connection:
        hand = Input(connection)
        hand.move(-100, 10_000)
        pointer = connection.root.query_pointer()
        assert (pointer.root_x, pointer.root_y) == (0, screen.height - 1)


@pytest.mark.parametrize("key", ["Dead", "CapsLock", "AltGraph", "Process", "", "\x07", "ab"])
def test_keys_that_type_nothing(key: str) -> None:
    assert keysym(key) is None
