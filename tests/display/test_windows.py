"""Windows and pixels of real programs."""

from __future__ import annotations

from labkernel.display import FrameBuffer, Screen, connect, windows
from labkernel.display.desk import BACKGROUND
from tests.support.screens import program, until, wait_for_window, windows_on


def test_programs_open_beside_each_other(screen: Screen) -> None:
    with program(screen, "xclock"), program(screen, "xclock", "-name", "second", "-title", "another"):
        clock, other = wait_for_window(screen, "xclock"), wait_for_window(screen, "another")
        assert (clock.program, clock.width, clock.height) == ("XClock", 164, 164)
        assert clock.y == other.y
        assert abs(clock.x - other.x) >= clock.width
    until(lambda: not windows_on(screen), "a window stays")


def test_a_window_stays_where_its_program_wants_it(screen: Screen) -> None:
    with program(screen, "xclock", "-geometry", "100x80+200+90", "-bw", "0"):
        assert wait_for_window(screen, "xclock").box == (200, 90, 300, 170)


def test_a_window_that_cannot_be_seen_is_listed_so(screen: Screen) -> None:
    with program(screen, "xclock", "-iconic"), connect(screen) as connection:
        until(lambda: [w.title for w in windows(connection)] == ["xclock"], "no window")
        until(
            lambda: windows(connection)[0].is_mapped, "not shown"
        )  # nobody is there who would make it an icon
        connection.display.create_resource_object("window", windows(connection)[0].id).unmap()
        connection.display.sync()
        assert not windows(connection)[0].is_mapped


def test_what_is_seen_is_in_the_frame_buffer(screen: Screen) -> None:
    pixels = FrameBuffer(screen)
    background = ((BACKGROUND >> 16) & 255, (BACKGROUND >> 8) & 255, BACKGROUND & 255)
    assert pixels.picture().getcolors() == [(480 * 360, background)]
    before = pixels.read()
    with program(screen, "xclock", "-bg", "red", "-bw", "0"):
        clock = wait_for_window(screen, "xclock")
        until(lambda: pixels.picture(clock.box).getpixel((2, 2)) == (255, 0, 0), "not red")
        assert pixels.picture(clock.box).size == (clock.width, clock.height)
        assert pixels.changed(before, pixels.read()) == clock.box
    until(lambda: pixels.changed(before, pixels.read()) is None, "something of it stays")
    pixels.close()


def test_an_area_is_cut_to_the_screen(screen: Screen) -> None:
    pixels = FrameBuffer(screen)
    assert pixels.picture((470, 350, 480, 360)).size == (10, 10)
    assert pixels.picture((-5, -5, 3, 4)).size == (3, 4)
    assert pixels.picture((500, 0, 600, 100)).size == (0, 100)
    pixels.close()
