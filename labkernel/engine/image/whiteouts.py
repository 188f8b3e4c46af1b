"""How overlayfs marks what an upper layer hides, and how OCI archives mark it.

overlayfs: a whiteout is a character device 0:0; a directory with the attribute `overlay.opaque` set to "y"
hides the directory below it (kernel documentation, filesystems/overlayfs.rst). Since Linux 5.8 whiteouts
are made without privilege, in a user namespace too (mknod(2)). OCI (image-spec, layer.md): an empty file
`.wh.NAME` hides NAME, and `.wh..wh..opq` hides what lay in its directory.
"""

from __future__ import annotations

import os
import stat

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
#: Names that the older AUFS driver left in archives; they mean nothing here.
RESERVED_PREFIX = b".wh..wh."

_USER_PREFIX = "user.overlay."
_WHITEOUT_DEVICE = os.makedev(0, 0)


class Overlay:
    """overlayfs's attributes: `trusted.overlay.` as root, `user.overlay.` where it is mounted with
    userxattr."""

    def __init__(self, *, userxattr: bool) -> None:
        self.userxattr = userxattr
        self.prefix = _USER_PREFIX if userxattr else "trusted.overlay."

    def make_whiteout(self, directory: int, name: bytes) -> None:
        """Raises FileExistsError where something has that name."""
        os.mknod(name, stat.S_IFCHR | 0o600, _WHITEOUT_DEVICE, dir_fd=directory)

    def make_opaque(self, directory: int) -> None:
        """Mark an open directory as hiding the one below it."""
        for name in {self.prefix, _USER_PREFIX}:
            os.setxattr(directory, name + "opaque", b"y")

    def share_opaque(self, path: bytes, attributes: dict[str, bytes]) -> None:
        """Mark a directory that overlayfs made opaque also for overlays with userxattr.

        A store that root fills may be stacked below that of a user, whose overlays see no `trusted.`
        attribute.
        """
        if self.is_opaque(attributes) and _USER_PREFIX + "opaque" not in attributes:
            os.setxattr(path, _USER_PREFIX + "opaque", b"y", follow_symlinks=False)

    def is_opaque(self, attributes: dict[str, bytes]) -> bool:
        return attributes.get(self.prefix + "opaque") == b"y"

    def unpackable(self, attributes: dict[str, bytes]) -> str | None:
        """The mark, if any, of a file whose content is elsewhere: a renamed directory's, a file's without
        data."""
        return next((mark for mark in ("redirect", "metacopy") if self.prefix + mark in attributes), None)


def is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _WHITEOUT_DEVICE


def is_kept(attribute: str) -> bool:
    """Whether an extended attribute is part of a layer: capabilities and the users' own.

    overlayfs's marks say how this machine stores layers, labels of SELinux belong to this machine; and an
    archive from elsewhere must not be able to set either.
    """
    if attribute.startswith("user."):
        return not attribute.startswith("user.overlay.")
    return attribute == "security.capability"
