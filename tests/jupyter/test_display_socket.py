"""Screens over the websocket of a real Jupyter server."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import WebSocketClientConnection, websocket_connect

from labkernel.display import FrameBuffer, Screen, start
from labkernel.jupyter.pace import FAST, SLOW, Pace
from labkernel.notebook.lab import lab_environment
from tests.support.room import Room, wait_until
from tests.support.screens import program, until, wait_for_window
from tests.support.source_tree import REPOSITORY

TOKEN = "a-token-for-the-tests"


@dataclass(frozen=True)
class Server:
    """A running Jupyter server."""

    port: int
    pid: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def request(self, number: int, id: str, *, token: str = TOKEN, **headers: str) -> HTTPRequest:
        address = f"ws://{self.address}/base/labkernel/display/{number}?screen={id}&token={token}"
        return HTTPRequest(address, headers=headers)

    def cookie(self) -> str:
        """What a browser has that is logged in."""
        with urllib.request.urlopen(f"http://{self.address}/base/api/me?token={TOKEN}") as answer:
            cookies = [value.partition(";")[0] for value in answer.headers.get_all("Set-Cookie")]
        return "; ".join(cookies)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """As `labkernel lab` configures it, without the lab."""
    home = tmp_path_factory.mktemp("jupyter")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JUPYTER")}
    environment |= {"HOME": str(home), "PYTHONPATH": str(REPOSITORY), "JUPYTER_PLATFORM_DIRS": "1"}
    options = (
        f"--port={port} --ServerApp.port_retries=0 --no-browser --allow-root --ServerApp.base_url=/base/"
    )
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyter_server", *options.split(), f"--IdentityProvider.token={TOKEN}"],
            cwd=home,
            env=lab_environment(environment),
            stdout=log,
            stderr=log,
        )
    try:
        for _ in wait_until(60, 0.1):
            assert process.poll() is None, (home / "log").read_text()
            try:
                address = f"http://127.0.0.1:{port}/base/api/status?token={TOKEN}"
                urllib.request.urlopen(address, timeout=1).close()
                break
            except OSError:
                continue
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def screen() -> Iterator[Screen]:
    started = start(480, 360)
    yield started
    started.stop()


class Browser:
    """What the page does with the stream."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self.connection = connection
        self.picture = Image.new("RGB", (1, 1))
        self.drawn = 0
        self._next: asyncio.Future[bytes | str | None] | None = None

    async def receive(self, timeout: float = 10) -> bytes | str | None:
        """The next message, None at the end. Raises TimeoutError when there is none."""
        self._next = self._next or asyncio.ensure_future(self.connection.read_message())
        message = await asyncio.wait_for(asyncio.shield(self._next), timeout)
        self._next = None
        return message

    async def draw(self, timeout: float = 10) -> tuple[int, int]:
        """Draw the next picture and say so; its width and height."""
        message = await self.receive(timeout)
        assert isinstance(message, bytes)
        x, y, width, height = struct.unpack_from("<4H", message)
        self.picture.paste(Image.open(io.BytesIO(message[8:])), (x, y))
        self.drawn += 1
        await self.say(kind="seen")
        return width, height

    async def say(self, **message: Any) -> None:
        await self.connection.write_message(json.dumps(message))

    async def closing_code(self) -> int | None:
        while await self.receive() is not None:
            pass
        return self.connection.close_code


@asynccontextmanager
async def browser(request: HTTPRequest) -> AsyncIterator[Browser]:
    connection = await websocket_connect(request)
    try:
        yield Browser(connection)
    finally:
        connection.close()


@asynccontextmanager
async def looking_at(server: Server, screen: Screen) -> AsyncIterator[Browser]:
    """A browser that has drawn the first picture."""
    async with browser(server.request(screen.number, screen.id)) as found:
        described = await found.receive()
        assert isinstance(described, str)
        assert json.loads(described) == {"name": screen.name, "width": 480, "height": 360}
        found.picture = Image.new("RGB", (480, 360))
        assert await found.draw() == (480, 360)
        yield found


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 60))


def test_who_is_not_logged_in_or_comes_from_another_page_is_refused(server: Server, screen: Screen) -> None:
    async def test() -> None:
        cookie = server.cookie()
        for refused in (
            {"token": ""},
            {"token": "wrong"},
            {"token": "", "Cookie": cookie, "Origin": "http://elsewhere.example"},
        ):
            with pytest.raises(HTTPClientError) as caught:
                await websocket_connect(server.request(screen.number, screen.id, **refused))
            assert caught.value.code == 403
        own = {"token": "", "Cookie": cookie, "Origin": f"http://{server.address}"}
        async with browser(server.request(screen.number, screen.id, **own)) as page:
            assert isinstance(await page.receive(), str)

    run(test())


def test_pictures_come_when_something_changes_and_show_what_is_there(server: Server, screen: Screen) -> None:
    async def test() -> None:
        async with looking_at(server, screen) as page:
            with program(screen, "xclock"):
                width, height = await page.draw()
                assert width < 480
                assert height < 360
                await asyncio.to_thread(wait_for_window, screen, "xclock")
                pixels = FrameBuffer(screen)
                while page.picture.tobytes() != pixels.picture().tobytes():
                    await page.draw()
                pixels.close()
                with pytest.raises(TimeoutError):  # a clock moves once a minute
                    await page.draw(0.7)

    run(test())


def test_keys_and_buttons_reach_a_program_and_are_let_go_at_the_end(server: Server, screen: Screen) -> None:
    async def test() -> None:
        with program(screen, "xev", "-event", "keyboard", "-event", "button") as xev:
            window = await asyncio.to_thread(wait_for_window, screen, "Event Tester")
            async with looking_at(server, screen) as page:
                place = {"x": window.x + 100, "y": window.y + 120}
                await page.connection.write_message("no JSON")
                await page.say(kind="button", button="left", pressed=True, **place)
                await page.say(kind="unknown")
                await page.say(kind="button", button=1, pressed=True, **place)
                await page.say(kind="button", button=1, pressed=False, **place)
                await page.say(kind="key", key="ж", code="Semicolon", pressed=True)
                await page.say(kind="key", key="ж", code="Semicolon", pressed=False)
                await page.say(kind="key", key="a", code="KeyA", pressed=True)
                await asyncio.to_thread(until, lambda: '"a"' in xev.said, "no key")
            await asyncio.to_thread(until, lambda: xev.said.count("KeyRelease") == 2, "a key stays down")
            events = re.findall(r"^(?:Key|Button)(?:Press|Release)", xev.said, re.MULTILINE)
            assert events == ["ButtonPress", "ButtonRelease", *["KeyPress", "KeyRelease"] * 2]
            assert '"ж"' in xev.said

    run(test())


def test_a_browser_that_does_not_keep_up_is_sent_no_more_than_two_pictures(
    server: Server, screen: Screen
) -> None:
    async def test() -> None:
        async with looking_at(server, screen) as page:
            with program(screen, "xclock", "-update", "0.05", "-hd", "red", "-geometry", "300x300"):
                await asyncio.to_thread(wait_for_window, screen, "xclock")
                await asyncio.sleep(1)
                waiting = 0
                while True:
                    try:
                        await page.receive(0.3)
                        waiting += 1
                    except TimeoutError:
                        break
                assert waiting == 2
                await page.say(kind="look", visible=False)
                await page.say(kind="seen")
                await page.say(kind="seen")
                with pytest.raises(TimeoutError):
                    await page.draw(1.2)
                await page.say(kind="look", visible=True)
                await page.draw()

    run(test())


def test_looking_at_a_screen_on_which_nothing_happens_costs_nothing(server: Server, screen: Screen) -> None:
    async def test() -> None:
        async with looking_at(server, screen):
            await asyncio.sleep(1.5)
            before = server.cpu_seconds()
            await asyncio.sleep(2)
            assert server.cpu_seconds() - before <= 0.1  # of 2 s; it is 0.01

    run(test())


def test_a_screen_that_is_not_there_is_said(server: Server, screen: Screen) -> None:
    async def test() -> None:
        for number, id in [(65000, screen.id), (screen.number, "another"), (screen.number, "")]:
            async with browser(server.request(number, id)) as page:
                assert await page.closing_code() == 4404
        async with looking_at(server, screen) as page:
            await asyncio.to_thread(screen.stop)
            assert await page.closing_code() == 4404

    run(test())


def test_another_users_screen_is_not_there(server: Server, user_with_one_id: str, tmp_path: Path) -> None:
    program = "import time; from labkernel.display import start; s = start(200, 150); "
    program += "print(s.number, s.id, flush=True); time.sleep(300)"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    room = Room(user_with_one_id)
    try:
        log = tmp_path / "log"
        room.start([sys.executable, "-c", program], env=environment, log=log)
        until(lambda: log.exists() and log.read_text().endswith("\n"), "no screen")
        number, id = log.read_text().split()

        async def test() -> None:
            async with browser(server.request(int(number), id)) as page:
                assert await page.closing_code() == 4404

        run(test())
    finally:
        room.close()


def test_the_pace_slows_down_in_a_second_and_quickens_at_once() -> None:
    pace = Pace()
    for soon in (True, False):
        pace.stir(soon=soon)
        assert pace.interval <= FAST
        silence = 0.0
        while pace.interval < SLOW:
            silence += pace.interval
            pace.looked(changed=False)
        assert 0.5 < silence < 2
    pace.looked(changed=True)
    assert pace.interval == FAST


def test_it_keeps_up_with_a_program_that_draws_all_the_time(server: Server, screen: Screen) -> None:
    async def test() -> None:
        async with looking_at(server, screen) as page:
            with program(screen, "xclock", "-update", "0.02"):
                await asyncio.to_thread(wait_for_window, screen, "xclock")
                begun, drawn = time.monotonic(), page.drawn
                while time.monotonic() - begun < 1:
                    await page.draw()
                assert page.drawn - drawn >= 10  # of 50 that it draws; it is 49 on an idle machine

    run(test())
