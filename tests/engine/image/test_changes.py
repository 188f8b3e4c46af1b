"""`docker diff`: the same lines as Docker's, for the same directories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labkernel.engine.image.changes import diff
from labkernel.engine.image.whiteouts import Overlay
from tests.engine.image.conftest import Tree
from tests.support.daemons import Daemon

OVERLAY = Overlay(userxattr=False)


@pytest.mark.parametrize(
    "command",
    [
        "mkdir /new /new/sub; touch /new/f",
        "rm -r /home; mkdir /home",
        "rm -r /home; mkdir /home; touch /home/x",
        "chmod 700 /tmp",
        "chown 5 /etc/passwd",
        "touch /tmp",
        "rm /bin/vi",
        "echo x > /etc/passwd",
        "ln -s /etc /l; mkdir -p /a/b/c; touch /a/b/c/d",
        "mv /etc /etc2",
        "touch /etc/passwd",
        "rm -r /usr; echo f > /usr",
        "rm /etc/group; mkdir /etc/group",
        "mkdir /tmp/a; rmdir /tmp/a",
        "chmod 600 /etc/passwd; chmod 644 /etc/passwd",
    ],
)
def test_docker_says_the_same(dockerd: Daemon, command: str) -> None:
    """A container of Docker's; then Docker and we look at what it left."""
    client = dockerd.client()
    container = client.containers.create("busybox", ["sh", "-c", command])
    try:
        container.start()
        container.wait()
        layers = client.api.inspect_container(str(container.id))["GraphDriver"]["Data"]
        lower = [Path(path) for path in layers["LowerDir"].split(":")]
        ours = diff(Path(layers["UpperDir"]), lower, OVERLAY)
        theirs = [(change["Path"], change["Kind"]) for change in container.diff() or []]
        assert [tuple(change) for change in ours] == sorted(theirs)
    finally:
        container.remove(force=True)
        client.close()


def test_all_layers_are_seen_through(tree: Tree) -> None:
    base = tree({"a": "1", "d/x": "", "f": "file", "b": "old"})
    middle = tree({"b": "2", "d/y": ""})
    os.mknod(middle / "a", 0o20600, 0)
    os.setxattr(middle / "d", "trusted.overlay.opaque", b"y")
    upper = tree({"a": "again", "b": "changed", "d/x": "again", "f/now": "a directory"})
    changes = dict(diff(upper, [middle, base], OVERLAY))
    assert changes == {"/a": 1, "/b": 0, "/d": 0, "/d/x": 1, "/f": 0, "/f/now": 1}


def test_links_in_layers_lead_nowhere(tree: Tree, place: Path) -> None:
    """A layer's link to a directory of this machine does not tell what is in that directory."""
    (place / "secret").write_text("")
    lower = tree({})
    (lower / "d").symlink_to(place)
    assert dict(diff(tree({"d/secret": ""}), [lower], OVERLAY))["/d/secret"] == 1
