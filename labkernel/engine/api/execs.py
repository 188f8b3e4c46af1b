"""`/exec`: further processes in running containers."""

from __future__ import annotations

from labkernel.engine.api.containers import terminal_size
from labkernel.engine.api.streams import content_type, converse, frame, parse_detach_keys
from labkernel.engine.containers import field_types
from labkernel.engine.engine import Engine
from labkernel.engine.errors import EngineError
from labkernel.engine.http.byte_queue import Disconnected
from labkernel.engine.http.server import Answer, Request, Response


async def create(engine: Engine, request: Request) -> Answer:
    body = await request.json()
    container = engine.containers.running(request.parameters["name"])
    return Response.json({"Id": engine.execs.create(container, body).id}, 201)


async def inspect(engine: Engine, request: Request) -> Answer:
    return Response.json(engine.execs.get(request.parameters["id"]).describe())


async def resize(engine: Engine, request: Request) -> Answer:
    size = terminal_size(request)
    engine.execs.get(request.parameters["id"]).stdio.resize(*size)
    return Response.empty(200)


async def start(engine: Engine, request: Request) -> Answer:
    asked = engine.execs.get(request.parameters["id"])
    body = await request.json(required=False)
    field_types.check(body, field_types.EXEC_START)
    engine.execs.check_startable(asked)
    rows, columns = [*(body.get("ConsoleSize") or ()), 0, 0][:2]
    size = (rows, columns) if rows else None
    if body.get("Detach"):
        await engine.execs.start(asked, size)
        return Response.empty(200)
    terminal, raw = asked.config["Tty"], bool(body.get("Tty"))  # framed unless the start says Tty too
    keys = parse_detach_keys(asked.config["DetachKeys"]) if terminal else b""
    wanted = {
        s for s in ("stdout", "stderr") if asked.config["AttachStdout" if s == "stdout" else "AttachStderr"]
    }
    if terminal:
        wanted.add("stdout")
    tap = asked.stdio.tap()
    connection = await request.hijack(content_type(request, raw))
    try:
        try:
            await engine.execs.start(asked, size)
        except EngineError as error:
            # The 101 is sent: the message goes where the output would have gone, as with dockerd.
            text = f"{error.message}\r\n".encode()
            await connection.write(text if raw else frame("stdout", text))
            return None
        await converse(
            connection,
            asked.stdio,
            tap,
            wanted,
            raw=raw,
            stdin=asked.config["AttachStdin"],
            keys=keys,
        )
    except Disconnected:
        pass
    finally:
        asked.stdio.untap(tap)
        connection.close()
    return None
