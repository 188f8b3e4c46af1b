"""What a published port answers, in bounded time and in words that are the same whenever the state is."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

from labkernel.course.check import Failed


def get(host: str, port: int, path: str, *, patience: float, most: int) -> str:
    """The text that answers GET with status 200, `most` bytes of it; asked again for `patience` seconds.

    Raises Failed: silence, or another status.
    """
    address = f"http://{host}:{port}{path}"
    end = time.monotonic() + patience
    while True:
        try:
            status, text = _request(host, port, path, max(1.0, end - time.monotonic()), most)
        except (OSError, HTTPException) as error:
            why = _silence(error)
        else:
            if status != 200:
                raise Failed(f"{address} answers with status {status}, not 200")
            return text
        if time.monotonic() > end:
            raise Failed(f"{address} does not answer: {why}")
        time.sleep(0.1)


def _request(host: str, port: int, path: str, timeout: float, most: int) -> tuple[int, str]:
    """The status and the text of an answer; `timeout` is for all of it, however slowly it trickles."""
    connection = HTTPConnection(host, port, timeout=timeout)
    connection.connect()
    opened = connection.sock
    late = threading.Event()

    def end() -> None:
        late.set()
        with suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(timeout, end)
    timer.start()
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read(most).decode(errors="replace")
    except (OSError, HTTPException):
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        connection.close()
    if late.is_set():
        raise TimeoutError
    return answer.status, text


def _silence(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "nothing answers in time"
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, OSError):
        return "the connection ends without an answer"
    return "what answers is not HTTP"
