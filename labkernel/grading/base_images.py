"""The images that an exercise starts from: in the engine here, where every sandbox sees them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from labkernel import engine_process
from labkernel.commands import CommandError, connect
from labkernel.commands.errors import CATALOG_NAMES
from labkernel.commands.http import call, messages


def have_images(names: Sequence[str], say: Callable[[str], None]) -> None:
    """Make those of the catalog that are missing. Raises CommandError."""
    from docker.errors import NotFound

    if not names:
        return
    with contextlib.closing(connect(engine_process.start())) as client:
        for name in names:
            try:
                client.api.inspect_image(name)
            except NotFound:
                if name.removesuffix(":latest") not in CATALOG_NAMES:
                    raise CommandError(
                        f"the exercise starts from an image that is not here: {name}",
                        hint="load it into labkernel's own engine: labkernel images load FILE",
                    ) from None
                say(f"making the image {name}, once")
                path = "/labkernel/images/make"
                answer = call(client, "POST", path, params={"name": name}, stream=True, versioned=False)
                for message in messages(answer):
                    if "error" in message:
                        raise CommandError(
                            f"the image {name} cannot be made: {message['error']}",
                            hint="labkernel images load FILE takes images that were made elsewhere",
                        ) from None
