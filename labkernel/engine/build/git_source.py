"""ADD of a git repository: its files at a commit, as a folder to copy.

Source: docs.docker.com/reference/dockerfile "Adding files from a Git repository".
"""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from labkernel.engine.build.copying import Source, select
from labkernel.engine.build.git import check_out, git_address
from labkernel.engine.build.instructions import Copy
from labkernel.engine.build.located import prefixed
from labkernel.engine.build.remote import tree_context
from labkernel.engine.build.threads import in_thread
from labkernel.engine.errors import InvalidParameter
from labkernel.engine.image.store import Store


async def git_source(
    step: Copy, text: str, place: Path, store: Store, opened: AsyncExitStack
) -> list[Source]:
    """What ADD copies of the repository at the address `text`; nothing where --exclude leaves nothing.

    `place` is an empty directory; the files can be read until `opened` is closed. Raises EngineError."""
    if not step.is_add:
        raise InvalidParameter(
            "COPY failed: source can't be a git ref for COPY", hint="ADD can fetch a repository"
        )
    checksum = step.checksum
    if checksum and not re.fullmatch("[0-9a-fA-F]+", checksum):
        raise InvalidParameter(
            f"invalid checksum {checksum} for Git URL, expected hex commit hash",
            hint="the checksum of a repository is the name of the commit",
        )
    with prefixed("ADD failed"):
        address = git_address(text)
        checkout = await check_out(address, place, keep_git=step.keeps_git)
    if not any(name.startswith(checksum.lower()) for name in checkout.names):
        raise InvalidParameter(
            f"ADD failed: expected checksum to match {checksum}, got {' or '.join(reversed(checkout.names))}",
            hint="the branch or tag has moved since, or somebody else answers at this address",
        )
    tree = opened.enter_context(await in_thread(tree_context, checkout, store))
    found = await in_thread(select, tree, ["/"], instruction="ADD", exclude=step.exclude)
    if step.keeps_git and not address.directory:
        # What git notes in .git of the same commit is never the same.
        key = f"git:{' '.join((checkout.names[0], *step.exclude))}"
        return [replace(source, key=key) for source in found]
    return found
