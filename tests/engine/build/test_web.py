"""Files from the web, as builds fetch them."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
from pathlib import Path

import pytest

from labkernel.engine.build.threads import in_thread
from labkernel.engine.build.web import fetch
from labkernel.engine.errors import Unavailable


def test_a_transfer_without_an_end_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    is_left = threading.Event()

    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(1000):  # nobody waits for its end
                    self.wfile.write(b"x")  # far from a whole piece
                    time.sleep(0.01)
            except OSError:
                is_left.set()

        def log_message(self, *_: object) -> None:
            pass

    async def leave(url: str) -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def progress(done: int, expected: int) -> None:
            loop.call_soon_threadsafe(begun.set)

        fetching = asyncio.ensure_future(in_thread(fetch, url, tmp_path / "file", progress))
        await begun.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        asyncio.run(leave(f"http://127.0.0.1:{server.server_address[1]}/x"))
        assert is_left.wait(10)
        server.shutdown()
        thread.join()


def test_what_is_no_address() -> None:
    with pytest.raises(Unavailable, match="nonnumeric port"):
        fetch("http://localhost:abc/x", Path("/nonexistent"), lambda done, expected: None)
