"""What a right answer to 08-gui comes to: clocks on the screen, refused or let in, and access control on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from labkernel.course import Lab, check, fail
from labkernel.course.check import Failed
from labkernel.course.objects import Container
from labkernel.course.screens import SeenWindow, let_in, running_screens, seen_windows

IMAGE = "me/xclock"
PROGRAM = "XClock"
REFUSAL = "Authorization required"
"""What X programs say when the screen's access control has sent them away."""
PATIENCE = 5.0
"""Seconds that a clock may need to show itself, or to give up."""
TICKS = 3.0
"""Seconds within which a clock with a second hand changes its picture."""

Clock = tuple[Container, SeenWindow]
Found = TypeVar("Found")


@check
def image(lab: Lab) -> None:
    """There is an image me/xclock with the program xclock."""
    ran = lab.run(lab.image(IMAGE), ["xclock"])  # it has no screen
    if "open display" not in ran.output:
        said = ran.output.strip().partition("\n")[0] or "nothing"
        fail(f"xclock in {IMAGE} should look for a display, and says: {said[:200]}")


@check
def screen(lab: Lab) -> None:
    """A virtual screen is there."""
    running_screens()


@check(after=(image, screen))
def refused(lab: Lab) -> None:
    """A container with the screen's socket, and without its cookie, was refused by access control."""
    soon(lab, lambda: refusals(lab))


@check(after=refused)
def open_clock(lab: Lab) -> None:
    """A clock in a container without the cookie is on the screen, let in by xhost +, and its hand moves."""
    moving(soon(lab, lambda: clocks(lab, with_cookie=False)))


@check(after=open_clock)
def closed(lab: Lab) -> None:
    """Access control is on again, and lets in nobody who has no cookie."""
    everyone_out()


@check(after=closed)
def refused_again(lab: Lab) -> None:
    """After the open clock was started, another container without the cookie was refused."""
    started = min(container.inspected["Created"] for container, _ in clocks(lab, with_cookie=False))

    def later() -> None:
        if not any(container.inspected["Created"] > started for container in refusals(lab)):
            fail(
                "no container has been refused since the open clock was started: "
                "another one should be, now that access control is on again",
                hint="run it with the same options as the first two, under a name of its own",
            )

    soon(lab, later)


@check(after=closed)
def safe_clock(lab: Lab) -> None:
    """A clock in a container with the cookie is on the screen, access control is on, and its hand moves."""
    moving(soon(lab, lambda: clocks(lab, with_cookie=True)))
    everyone_out()


def soon(lab: Lab, look: Callable[[], Found]) -> Found:
    """Look again and again, as long as a container may yet show its window or give up."""
    end = time.monotonic() + PATIENCE
    while True:
        waiting = time.monotonic() < end and is_any_starting(lab)
        try:
            return look()
        except Failed:
            if not waiting:
                raise
            time.sleep(0.1)


def is_any_starting(lab: Lab) -> bool:
    """Whether a container of the image runs and has no window."""
    hosts = {window.window.host for window in seen_windows()}
    running = lab.containers_of(lab.image(IMAGE))
    return any(container.inspected["Config"]["Hostname"] not in hosts for container in running)


def refusals(lab: Lab) -> list[Container]:
    """The containers that access control has sent away."""
    ended = [container for container in lab.containers(all=True) if not container.running]
    found = [container for container in ended if REFUSAL in container.log]
    if not found:
        fail(
            f"no container was refused by access control: none has ended with {REFUSAL!r}{last_of(lab)}",
            hint="give it DISPLAY and the sockets, but no cookie; and no --rm, so that its log stays",
        )
    return found


def clocks(lab: Lab, *, with_cookie: bool) -> list[Clock]:
    """The clocks on the screen that run in containers, and have or have not the cookie."""
    seen = [window for window in seen_windows() if window.window.program == PROGRAM]
    if not seen:
        fail(f"no clock is on the screen{last_of(lab)}")
    found = [
        (container, window)
        for window in seen
        for container in lab.containers()
        if container.inspected["Config"]["Hostname"] == window.window.host
    ]
    if not found:
        fail("the clock on the screen should run in a container, and does not")
    wanted = [clock for clock in found if has_cookie(*clock) == with_cookie]
    if not wanted and with_cookie:
        fail("the clock on the screen should have the cookie, and was let in without one")
    if not wanted:
        fail("the clock on the screen should be let in without a cookie, by xhost +, and has it")
    return wanted


def has_cookie(container: Container, window: SeenWindow) -> bool:
    """Whether the container has the screen's cookie where X programs look for it."""
    variables = dict(line.partition("=")[::2] for line in container.inspected["Config"]["Env"] or [])
    places = (variables.get("XAUTHORITY"), variables.get("HOME", "/root") + "/.Xauthority")
    for place in filter(None, places):
        with contextlib.suppress(Failed):
            if window.cookie in container.file(place):
                return True
    return False


def moving(found: list[Clock]) -> None:
    if not any(window.changes(TICKS) for _, window in found):
        fail(
            f"the clock's picture should change, and stays the same for {TICKS:.0f} s",
            hint="xclock -update 1 has a second hand",
        )


def everyone_out() -> None:
    others = let_in()
    if "everybody" in others:
        fail("access control should be on, and is off", hint="%xhost - turns it on")
    if others:
        fail(
            f"nobody should be let in without the cookie, and this one still is: {others[0]}",
            hint="%xhost lists who is let in, and takes them from the list: %xhost -local:",
        )


def last_of(lab: Lab) -> str:
    """What became of the last container of the image, for the end of a message."""
    found = lab.containers_of(lab.image(IMAGE), all=True)
    return f"; the last container of {IMAGE} is {found[-1].state}{found[-1].last_words}" if found else ""
