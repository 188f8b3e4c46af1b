"""A program: as an ordinary user, makes debian in the directory named and says what came of it, in JSON.

The user namespace has to be entered before anything starts a thread, so this is a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from labkernel.engine.catalog.catalog import Catalog
from labkernel.engine.runtime import rootless
from tests.engine.catalog.launched import launching

CHECKS = {
    "audit": "dpkg --audit && apt-get -q check",
    "owners": "stat -c '%U:%G %a' /etc/shadow /var/mail /usr/bin/chage",
    "install": "apt-get update && apt-get install -y memcached && su -s /bin/sh daemon -c 'memcached -V'",
}


async def main(directory: Path) -> None:
    answers: dict[str, tuple[int, str]] = {}
    async with launching() as run:
        made = await Catalog(directory / "cache", run).make("debian", lambda _: None)
        assert made.rootfs is not None
        for name, command in CHECKS.items():
            said = bytearray()
            env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"]
            code = await run(
                made.rootfs, ["sh", "-c", command], env, network=name == "install", output=said.extend
            )
            answers[name] = code, said.decode(errors="replace")
        made.discard()
        left = [path.name for path in (directory / "cache/work").iterdir()]
        assert left == [], left
    (directory / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    rootless.enter_user_namespace()
    asyncio.run(main(Path(sys.argv[1])))
