"""docker commit, import, save, load: images from containers and files, and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from labkernel.commands.archive import output_to
from labkernel.commands.command import Command, Invocation
from labkernel.commands.console import Console
from labkernel.commands.errors import CommandError, nearest
from labkernel.commands.flags import many, switch, text
from labkernel.commands.http import call, chunks, messages
from labkernel.commands.progress import raise_error, show_progress
from labkernel.commands.pull import split_reference
from labkernel.commands.results import Result, Text

if TYPE_CHECKING:
    from docker import DockerClient


def commit(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    container, *reference = invocation.arguments
    repository, tag = split_reference(reference[0]) if reference else ("", "")
    options = invocation.options
    parameters = {
        "container": container,
        "repo": repository,
        "tag": tag,
        "author": options["author"] or "",
        "comment": options["message"] or "",
        "changes": options["change"],
        "pause": "1" if options["pause"] else "0",
    }
    return Text(str(call(client, "POST", "/commit", params=parameters, body={}).json()["Id"]))


def import_(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    source, *reference = invocation.arguments
    options = invocation.options
    repository, tag = split_reference(reference[0]) if reference else ("", "")
    parameters: dict[str, Any] = {
        "repo": repository,
        "tag": tag,
        "message": options["message"] or "",
        "changes": options["change"],
        **({"platform": options["platform"]} if options["platform"] else {}),
    }
    if source.startswith(("http://", "https://")):
        response = call(
            client, "POST", "/images/create", params={**parameters, "fromSrc": source}, stream=True
        )
    else:
        with _opened(source, console) as file:
            parameters["fromSrc"] = "-"
            response = call(
                client, "POST", "/images/create", params=parameters, data=_blocks(file), stream=True
            )
    image = ""
    for message in messages(response):
        raise_error(message)
        image = str(message.get("status") or image)
    return Text(image)


class _opened:  # reads as a function
    """The file `name`, or standard input for `-`, which is left open."""

    def __init__(self, name: str, console: Console) -> None:
        if name == "-":
            if console.stdin is None:
                raise CommandError("there is no standard input here", hint="name a file")
            self._file: BinaryIO = console.stdin
        else:
            path = Path(name).expanduser()
            if not path.is_file():
                problem = "is a directory" if path.is_dir() else "no such file or directory"
                raise CommandError(f"open {name}: {problem}", hint=_where_else(path))
            self._file = path.open("rb")
        self._close = name != "-"

    def __enter__(self) -> BinaryIO:
        return self._file

    def __exit__(self, *_: object) -> None:
        if self._close:
            self._file.close()


def _where_else(path: Path) -> str:
    """What to do about a file that is not there."""
    directory = path if path.is_dir() else path.parent
    if not directory.is_dir():
        return f"there is no directory {directory}"
    files = sorted(entry.name for entry in directory.iterdir() if entry.is_file())
    near = nearest(path.name, files)
    if near:
        return f"did you mean {directory / near}?"
    return f"files in {directory.absolute()}: {', '.join(files[:8]) or 'none'}"


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: file.read(1 << 20), b"")


def save(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    response = call(client, "GET", "/images/get", params={"names": invocation.arguments}, stream=True)
    output_to(chunks(response), invocation.options["output"], console, "save")
    return Text()


def load(client: DockerClient, invocation: Invocation, console: Console) -> Result:
    options = invocation.options
    source = options["input"] or "-"
    if source == "-" and console.terminal:
        raise CommandError(
            "requested load from stdin, but stdin is empty", hint="name the archive: docker load -i FILE"
        )
    with _opened(source, console) as file:
        params = {"quiet": "1" if options["quiet"] else "0"}
        response = call(client, "POST", "/images/load", params=params, data=_blocks(file), stream=True)
    show_progress(messages(response), console)
    return Text()


COMMIT = Command(
    "commit",
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Make an image from what a container changed",
    commit,
    (
        text("author", "a", "Who made it"),
        many("change", "c", "A Dockerfile instruction for the image, such as 'CMD [\"sh\"]'"),
        text("message", "m", "What was done"),
        switch("pause", "p", "Freeze the container meanwhile", default=True),
    ),
    (1, 2),
)
IMPORT = Command(
    "import",
    "[OPTIONS] FILE|URL|- [REPOSITORY[:TAG]]",
    "Make an image from a tar of a file system",
    import_,
    (
        many("change", "c", "A Dockerfile instruction for the image, such as 'CMD [\"sh\"]'"),
        text("message", "m", "What was done"),
        text("platform", "", "Platform of the image"),
    ),
    (1, 2),
)
SAVE = Command(
    "save",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Write images to an archive",
    save,
    (text("output", "o", "Write to this file"),),
    (1, None),
)
LOAD = Command(
    "load",
    "[OPTIONS]",
    "Read images from an archive",
    load,
    (text("input", "i", "Read this file, not standard input"), switch("quiet", "q", "Show no progress")),
    (0, 0),
)
