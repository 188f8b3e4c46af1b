"""The newer flags and here-documents with each kind of privilege: root, a user with subordinate ids, and one
with a single id."""

from __future__ import annotations

import hashlib
import re
import tarfile
from pathlib import Path

import pytest

from tests.engine.build.beside_dockerd import DIRECTORY, Case, archive, image_id, messages, saved
from tests.engine.build.conftest import Files, member
from tests.engine.build.test_fetched_beside_dockerd import ADDRESS, web
from tests.support.daemons import Daemon

FILES: Files = {
    "src": member(DIRECTORY, mode=0o750, uid=3, gid=4),
    "src/one.txt": "1",
    "src/two.md": "2",
    "src/deep": member(DIRECTORY, mode=0o700),
    "src/deep/three.txt": "3",
    "x.tar": archive(),
    "run.sh": member(tarfile.REGTYPE, mode=0o4755),
}
DOCKERFILE = """
FROM busybox AS made
RUN mkdir -p /made && echo y > /made/x && chmod 640 /made/x
FROM busybox
RUN mkdir /target && ln -s target /l
RUN echo 'me:x:7:8::/:/bin/sh' >> /etc/passwd && echo 'me:x:8:' >> /etc/group
COPY --parents src/deep/three.txt ./src/one.txt /parents/
COPY --parents src/*/*.txt /wild/
COPY --exclude=*.md --exclude=deep src /excluded/
COPY --link src/one.txt /l/linked
COPY --link --chown=5:6 --chmod=u=rwX,go= src /own/
COPY --chmod=751 src/one.txt /octal
COPY --chmod=go-rx src /relative/
COPY --chown=me --chmod=4755 src/one.txt run.sh /owned/
COPY --from=made --chmod=600 --parents /made/x /stage/
ADD --unpack=false x.tar /packed/
ADD --unpack=true x.tar /unpacked/
ADD --chown=9:9 x.tar /owned-archive/
ADD --checksum={digest} {at}/x.tar /fetched/
ADD --checksum={digest} --unpack {at}/x.tar /fetched-unpacked/
COPY --chmod=640 <<one <<"two" /documents/
$HOME one
one
$HOME two
two
ADD --chown=me <<-file /document
\ttab
\tfile
RUN <<SH
set -e
echo from a document > /ran
umask 077
mkdir /private
SH
USER me
RUN --mount=type=bind,source=src,target=/src cat /src/one.txt > /tmp/seen; id -u > /tmp/id
"""


#: Mode, owner and group: what most of the flags are there for.
MADE = """
parents 755 0:0
parents/src 750 0:0
parents/src/deep 700 0:0
parents/src/one.txt 644 0:0
parents/src/deep/three.txt 644 0:0
wild 755 0:0
wild/src 750 0:0
wild/src/deep 700 0:0
wild/src/deep/three.txt 644 0:0
excluded 755 0:0
excluded/one.txt 644 0:0
l 755 0:0
l/linked 644 0:0
own 700 5:6
own/deep 700 5:6
own/one.txt 600 5:6
own/two.md 600 5:6
own/deep/three.txt 600 5:6
octal 751 0:0
relative 700 0:0
relative/deep 700 0:0
relative/one.txt 600 0:0
relative/two.md 600 0:0
owned 755 7:8
owned/one.txt 4755 7:8
owned/run.sh 4755 7:8
stage 600 0:0
stage/made 600 0:0
stage/made/x 600 0:0
packed 755 0:0
packed/x.tar 644 0:0
unpacked 755 0:0
unpacked/deep 755 0:0
unpacked/in 750 5:6
unpacked/deep/er 755 0:0
unpacked/deep/er/file 600 8:9
unpacked/in/file 4711 6:7
owned-archive 755 0:0
fetched 755 0:0
fetched/x.tar 600 0:0
fetched-unpacked 755 0:0
documents 755 0:0
documents/one 640 0:0
documents/two 640 0:0
document 644 7:8
private 700 0:0
ran 644 0:0
tmp 1777 0:0
"""


def built(daemon: Daemon, directory: Path) -> dict[str, str]:
    digest = "sha256:" + hashlib.sha256(archive()).hexdigest()
    (directory / "x.tar").write_bytes(archive())
    directory.chmod(0o755)
    with web(daemon, directory):
        text = DOCKERFILE.format(digest=digest, at=ADDRESS)
        layers = saved(daemon, image_id(messages(daemon, Case(text, FILES)))).layers
    return {name: value for layer in layers[3:] for name, value in layer.items()}


def test_every_flag(any_engine: Daemon, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    expected = set(MADE.strip().splitlines())
    if "single_uid_engine" in request.node.name:
        # It has one owner to give, and calls it root.
        expected = {re.sub(r"\d+:\d+$", "0:0", line) for line in expected}
    files = {
        f"{name} {' '.join(value.replace('0o', '').split()[1:3])}"
        for name, value in built(any_engine, tmp_path).items()
    }
    assert sorted(expected - files) == []
    assert {"tmp/seen", "tmp/id"} <= {line.split()[0] for line in files}
    assert not any("two.md" in line for line in files if line.startswith("excluded"))
