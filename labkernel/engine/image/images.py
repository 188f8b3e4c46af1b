"""Images: configurations on layers, with names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from labkernel.engine.image.config import ImageConfig
from labkernel.engine.image.reference import Reference
from labkernel.engine.image.store import Store


@dataclass(frozen=True)
class Image:
    id: str
    config: ImageConfig
    parent: str | None
    chain_id: str | None
    size: int
    created: int


class ImageUser(NamedTuple):
    """A container that uses an image."""

    container_id: str
    running: bool


ImageUsers = Callable[[str], Sequence[ImageUser]]


class Images:
    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, image_id: str) -> Image:
        raise NotImplementedError

    def resolve(self, name: str) -> Image:
        """a reference, an id or the start of one; NotFound "No such image: foo:latest" """
        raise NotImplementedError

    def create(
        self, config: ImageConfig | bytes, *, parent: str | None = None, reference: Reference | None = None
    ) -> Image:
        raise NotImplementedError

    def tag(self, image_id: str, reference: Reference) -> None:
        raise NotImplementedError

    def references(self, image_id: str) -> list[Reference]:
        raise NotImplementedError

    def children(self, image_id: str) -> list[Image]:
        raise NotImplementedError

    def list(self, *, all: bool = False) -> list[Image]:
        raise NotImplementedError

    def summary(self, image: Image, *, shared_size: bool = False, containers: int = -1) -> dict[str, Any]:
        """the API's ImageSummary"""
        raise NotImplementedError

    def inspect(self, image: Image) -> dict[str, Any]:
        """the API's ImageInspect"""
        raise NotImplementedError

    def history(self, image: Image) -> list[dict[str, Any]]:
        raise NotImplementedError

    def delete(
        self, name: str, users: ImageUsers, *, force: bool = False, prune: bool = True
    ) -> list[dict[str, str]]:
        """[{"Untagged": ...}, {"Deleted": ...}]"""
        raise NotImplementedError

    def import_tar(
        self,
        tar: BinaryIO,
        *,
        reference: Reference | None = None,
        config: dict[str, Any] | None = None,
        message: str = "",
    ) -> Image:
        """--change is applied to `config` by the caller"""
        raise NotImplementedError

    def save(self, names: Sequence[str], out: BinaryIO) -> None:
        raise NotImplementedError

    def load(self, tar: BinaryIO) -> list[str]:
        """["Loaded image: web:v1"]"""
        raise NotImplementedError
