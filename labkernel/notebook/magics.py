"""The magics: what a learner types in a cell, handed to the docker-style commands.

`%docker` takes a line as a slide shows it; `%container` and `%image` are the same with the group's word left
out; `%%docker` takes several lines, `%%dockerfile` a Dockerfile. `%layers`, `%ports` and `%logs` draw what
there is and follow it, `%check` checks an exercise, `%display` shows a virtual screen. Each returns a Result,
so that `running = %container ps` works.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labkernel.commands import (
    Built,
    CommandError,
    Invocation,
    Recorder,
    Result,
    Text,
    execute,
    parse,
    split_line,
)
from labkernel.notebook.build_console import BuildConsole
from labkernel.notebook.build_report import BuildReport
from labkernel.notebook.cell_console import CellConsole
from labkernel.notebook.cell_lines import commands, without_docker
from labkernel.notebook.check_magic import HELP, Checker
from labkernel.notebook.choice import Choice
from labkernel.notebook.display import show
from labkernel.notebook.dockerfile_cell import read_cell
from labkernel.notebook.failures import CellError, Interrupted
from labkernel.notebook.foreground import leaving_on_interrupt, run_in_foreground
from labkernel.notebook.layers import stack_of
from labkernel.notebook.screen_magics import ScreenMagics
from labkernel.notebook.variables import Environment, expand
from labkernel.notebook.views.layers_view import LayersView
from labkernel.notebook.views.logs_view import HELP as LOGS_HELP
from labkernel.notebook.views.logs_view import LogsView, read_words
from labkernel.notebook.views.ports_view import PortsView
from labkernel.notebook.views.view import View
from labkernel.notebook.views.views import Views

if TYPE_CHECKING:
    from docker import DockerClient
    from IPython.core.interactiveshell import InteractiveShell


class LabMagics:
    """The magics of one shell. `line` and `cell` map their names to functions."""

    def __init__(self, shell: InteractiveShell, choice: Choice) -> None:
        self.shell = shell
        self.choice = choice
        self.checker = Checker()
        self.views = Views(shell)
        self.screen = ScreenMagics(shell)
        self.line: dict[str, Callable[[str], Result]] = {
            "docker": self.docker,
            "container": self.container,
            "image": self.image,
            "layers": self.layers,
            "ports": self.ports,
            "logs": self.logs,
            "check": self.check,
            "display": self.display,
            "xhost": self.xhost,
        }
        self.cell: dict[str, Callable[[str, str], Result | None]] = {
            "docker": self.docker_cell,
            "dockerfile": self.dockerfile,
        }

    @property
    def is_live(self) -> bool:
        """Whether the frontend replaces outputs: a notebook does, IPython in a terminal prints them again."""
        return hasattr(self.shell, "kernel")

    def docker(self, line: str) -> Result:
        """A docker command as a slide shows it: %docker run --rm busybox echo hello"""
        with failures_shown():
            return self.execute(self.words(without_docker(line)))

    def container(self, line: str) -> Result:
        """Work with containers: %container run -d -p 8080:8080 me/web-app; %container --help"""
        with failures_shown():
            return self.execute(["container", *self.words(line)])

    def image(self, line: str) -> Result:
        """Work with images: %image ls; %image history debian; %image --help"""
        with failures_shown():
            return self.execute(["image", *self.words(line)])

    def docker_cell(self, line: str, cell: str) -> Result | None:
        """Several docker commands, one a line; the first may stand beside the magic itself."""
        result: Result | None = None
        with failures_shown():
            for text in commands(f"{line}\n{cell}"):
                if result is not None:
                    show(result)
                result = self.execute(self.words(text))
        return result

    def dockerfile(self, line: str, cell: str) -> Result:
        """Build the cell as a Dockerfile: %%dockerfile -t me/web-base --context DIR; --help says more"""
        with failures_shown():
            found = read_cell(self.words(line), cell)
            if found.invocation.help is not None:
                return Text(found.invocation.help)
            return self._build(found.invocation, found.stdin)

    def layers(self, line: str) -> Result:
        """Draw the layers of images and containers: %layers debian me/web-app"""
        with failures_shown():
            names = self.words(line)
            if not names or "--help" in names:
                return Text(
                    "Usage:  %layers IMAGE|CONTAINER...\n\nDraw what images and containers are made of"
                )
            return self._view(
                lambda host: LayersView(names, f"%layers {line}", host, self.views.layer_reader(host))
            )

    def ports(self, line: str) -> Result:
        """Show where the published ports lead: %ports, or %ports NAME..."""
        with failures_shown():
            names = self.words(line)
            if "--help" in names:
                return Text("Usage:  %ports [CONTAINER...]\n\nShow the published ports of containers")
            return self._view(lambda host: PortsView(names, f"%ports {line}", host))

    def logs(self, line: str) -> Result:
        """Show what containers write: %logs NAME..., and go on; --help says more"""
        with failures_shown():
            request = read_words(self.words(line))
            if request.help:
                return Text(LOGS_HELP)
            return self._view(lambda host: LogsView(request, f"%logs {line}", host))

    def _view(self, make: Callable[[str | None], View]) -> Result:
        """A view of the engine that DOCKER_HOST names."""
        with self._client() as client:
            return self.views.picture(make(os.environ.get("DOCKER_HOST")), client)

    def check(self, line: str) -> Result:
        """Check this exercise: %check, or %check NAME...; failing again gives one more hint"""
        with failures_shown():
            names = self.words(line)
            if names == ["--help"]:
                return Text(HELP)
            return self.checker.check(self._client, names, live=self.is_live)

    def display(self, line: str) -> Result:
        """Show this kernel's virtual screen: %display, or %display 1024x768, or --stop; --help says more"""
        with failures_shown():
            return self.screen.display(self.words(line))

    def xhost(self, line: str) -> Result:
        """Say who may connect to the display: %xhost + lets everybody in, %xhost - does not, %xhost lists"""
        with failures_shown():
            return self.screen.xhost(self.words(line))

    def words(self, text: str) -> list[str]:
        """The words of a line, with the notebook's variables in place."""
        variables = self.shell.user_ns
        return split_line(
            expand(text, variables), nested=self._nested, environ=Environment(variables, os.environ)
        )

    def _nested(self, words: list[str]) -> str:
        """What a docker command inside $(...) prints."""
        recorder = Recorder()
        with self._client() as client:
            result = execute(client, parse(words), recorder)
        return recorder.stdout.decode(errors="replace") + result.text

    def execute(self, words: list[str]) -> Result:
        """Run one docker command, its streams going to the cell. Raises CommandError."""
        invocation = parse(words)
        if invocation.help is not None or invocation.command is None:
            return Text(invocation.help or "")
        if invocation.command.name == "build" and not invocation.options["quiet"]:
            return self._build(invocation, None)
        console = CellConsole(live=self.is_live)
        try:
            with self._client(invocation.host, invocation.line) as client:
                if invocation.command.name == "run" and not invocation.options["detach"]:
                    return run_in_foreground(client, invocation, console)
                if invocation.command.name == "attach":
                    invocation = leaving_on_interrupt(invocation)
                return execute(client, invocation, console)
        finally:
            console.close()

    def _build(self, invocation: Invocation, stdin: Any) -> Result:
        with self._client(invocation.host, invocation.line) as client:
            if invocation.options["check"]:
                recorder = Recorder()
                recorder.stdin = stdin
                return execute(client, invocation, recorder)
            console = BuildConsole(live=self.is_live, stdin=stdin)
            invocation = replace(invocation, options={**invocation.options, "explain": True, "notes": True})
            try:
                built = execute(client, invocation, console)
                console.stream.finish()
                assert isinstance(built, Built)
                report = BuildReport(
                    image=built.image,
                    tags=built.tags,
                    steps=console.stream.steps,
                    seconds=console.seconds,
                    stack=stack_of(client, built.tags[0] if built.tags else built.image),
                    before=console.stream.before,
                    explanation=built.explanation,
                    notes=built.notes,
                )
            except BaseException as error:
                if isinstance(error, CommandError) and console.stream.steps and not error.hint:
                    error.hint = "what the step printed, above, says why"
                console.fail(error)
                raise
            console.finish(report)
            return report

    @contextmanager
    def _client(self, host: str | None = None, where: str | None = None) -> Iterator[DockerClient]:
        try:
            client = self.choice.client(host)
        except CommandError as error:
            error.where = error.where or where
            raise
        try:
            yield client
        finally:
            client.close()


@contextmanager
def failures_shown() -> Iterator[None]:
    """Turn failures into ones that show themselves as a block instead of a traceback."""
    try:
        yield
    except CellError:
        raise
    except CommandError as error:
        sys.stdout.flush()
        raise CellError.of(error) from None
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted from None
