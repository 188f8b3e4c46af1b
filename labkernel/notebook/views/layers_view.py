"""%layers: the stacks of images and containers, live."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkernel.commands import CommandError
from labkernel.notebook.layers import Stack, stack_of, writable_of
from labkernel.notebook.layers_picture import LayersPicture
from labkernel.notebook.views.layer_files import LayerFiles
from labkernel.notebook.views.layer_reader import LayerReader
from labkernel.notebook.views.view import PASSING, View, action, is_about

if TYPE_CHECKING:
    from docker import DockerClient

PAUSE = 1.0
"""Seconds between two looks at what a running container writes: no event tells of it."""
SHARE = 0.05
"""Of the time, what these looks may take at the most."""


class LayersView(View):
    """The stacks of `names`. `reader` finds out which files are in the layers."""

    def __init__(self, names: Sequence[str], line: str, host: str | None, reader: LayerReader) -> None:
        super().__init__(line, host)
        self._names = names
        self._reader = reader
        self._stacks: list[Stack] = []
        self._is_stale = True
        self._changed: Callable[[], None] | None = None

    def look(self, client: DockerClient) -> LayersPicture:
        started = time.monotonic()
        is_stale, self._is_stale = self._is_stale, False
        if is_stale:
            self._stacks = [stack_of(client, name) for name in self._names]
        else:  # what no event announced can only have changed in the containers' own layers
            self._stacks = [_looked_at(client, stack) for stack in self._stacks]
        is_writing = any(stack.writable and stack.writable.is_running for stack in self._stacks)
        self.pause = max(PAUSE, (time.monotonic() - started) / SHARE) if is_writing else None
        self._find_files()
        return LayersPicture(
            [with_files(stack, self._reader.known) for stack in self._stacks],
            is_counting=self._reader.is_finding(self._images),
        )

    def _find_files(self) -> None:
        if self._changed is not None:  # else the picture may never be shown
            known = self._reader.known.keys()
            self._reader.want({s.image: s.size for s in self._stacks if _layers_of(s) - known})

    @property
    def _images(self) -> set[str]:
        return {stack.image for stack in self._stacks}

    def concerns(self, event: Mapping[str, Any]) -> bool:
        names = {name for stack in self._stacks for name in _names_of(stack)} | set(self._names)
        concerns = event.get("Type") == "image" or (is_about(event, names) and action(event) not in PASSING)
        self._is_stale = self._is_stale or concerns
        return concerns

    def missed(self) -> None:
        self._is_stale = True

    def begin(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._reader.listen(changed)
        self._find_files()

    def settle(self, seconds: float) -> bool:
        return self._reader.is_finding(self._images) and self._reader.settle(self._images, seconds)

    def end(self) -> None:
        if self._changed is not None:
            self._reader.ignore(self._changed)


def _names_of(stack: Stack) -> list[str]:
    return [stack.container or "", stack.writable.id] if stack.writable else []


def _looked_at(client: DockerClient, stack: Stack) -> Stack:
    """The stack with what its container has written by now. Raises CommandError when it has gone."""
    from docker.errors import NotFound

    if stack.writable is None:
        return stack
    try:
        return dataclasses.replace(stack, writable=writable_of(client, stack.writable.id))
    except NotFound:
        raise CommandError(f"No such container: {stack.container}") from None


def _layers_of(stack: Stack) -> set[str]:
    """The chain ids of a stack's layers."""
    return {chain_id for chain_id in stack.chain if chain_id}


def with_files(stack: Stack, known: Mapping[str, LayerFiles]) -> Stack:
    """The stack with what is known of its layers' files; `known` is by chain id."""
    layers = [
        dataclasses.replace(layer, files=known.get(chain_id or ""))
        for layer, chain_id in zip(stack.layers, stack.chain, strict=True)
    ]
    return dataclasses.replace(stack, layers=tuple(layers))
