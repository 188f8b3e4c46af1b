"""Named directories that outlive containers."""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from labkernel.engine.database import Database
from labkernel.engine.errors import Conflict, InvalidParameter, NotFound
from labkernel.engine.events import Events
from labkernel.engine.filters import check_keys, labels_pass, truth
from labkernel.engine.linux import trees
from labkernel.engine.timestamps import rfc3339
from labkernel.engine.volume_mounts import VolumeMounts, check_options, is_mount

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS volumes (
    name TEXT PRIMARY KEY,
    created TEXT NOT NULL,               -- RFC 3339
    labels TEXT,                         -- JSON object, or NULL as the API shows it
    options TEXT,
    anonymous INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS volume_uses (
    volume TEXT NOT NULL REFERENCES volumes (name),
    container TEXT NOT NULL,
    PRIMARY KEY (volume, container)
);
"""


def check_volume_name(name: str) -> None:
    """Raises InvalidParameter, in Docker's words."""
    if len(name) == 1:
        raise InvalidParameter(
            f"create {name}: volume name is too short, names should be at least two alphanumeric characters"
        )
    if not _NAME.fullmatch(name):
        raise InvalidParameter(
            f'create {name}: "{name}" includes invalid characters for a local volume name, '
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. '
            "If you intended to pass a host directory, use absolute path"
        )


def _stored(words: Mapping[str, str] | None) -> str | None:
    return None if words is None else json.dumps(dict(words))


class Volumes:
    """The engine's volumes: a row and a directory each, the row last to come and first to go."""

    def __init__(self, root: Path, database: Database, events: Events) -> None:
        self._root = root
        self._database = database
        self._events = events
        self._mounts = VolumeMounts()
        root.mkdir(mode=0o701, parents=True, exist_ok=True)
        database.create_tables(_SCHEMA)
        known = {row["name"] for row in database.rows("SELECT name FROM volumes")}
        for left_over in {entry.name for entry in os.scandir(root)} - known:
            trees.remove(root / left_over)

    def directory(self, name: str) -> Path:
        return self._root / name / "_data"

    def exists(self, name: str) -> bool:
        return self._database.row("SELECT 1 FROM volumes WHERE name = ?", (name,)) is not None

    def create(
        self,
        name: str = "",
        *,
        driver: str = "local",
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        anonymous: bool = False,
    ) -> str:
        """Make a volume, or find the one of that name; returns the name.

        Raises:
            InvalidParameter: the name, or options that the local driver does not have.
            NotFound: no such driver.
        """
        name = name or secrets.token_hex(32)
        if driver not in ("", "local"):
            raise NotFound(
                f'create {name}: error looking up volume plugin {driver}: plugin "{driver}" not found',
                hint="the volume driver offered is local",
            )
        check_volume_name(name)
        check_options(name, options or {})
        if not self.exists(name):
            self.directory(name).mkdir(parents=True, exist_ok=True)
            self._database.execute(
                "INSERT INTO volumes VALUES (?, ?, ?, ?, ?)",
                (name, rfc3339(), _stored(labels), _stored(options), anonymous),
            )
            self._events.publish("volume", "create", name, driver="local")
        return name

    def mount(self, name: str, user: str) -> None:
        """Mount it, if it is one of those that are mounts, until `unmount`. Raises System."""
        row = self._database.row("SELECT options FROM volumes WHERE name = ?", (name,))
        options = json.loads(row["options"]) if row and row["options"] else None
        if options and is_mount(options):
            self._mounts.use(self.directory(name), options, user)

    def unmount(self, user: str) -> None:
        """`user` needs none of its volumes for now."""
        self._mounts.release(user)

    def close(self) -> None:
        self._mounts.close()

    def use(self, name: str, container_id: str) -> None:
        self._database.execute("INSERT OR IGNORE INTO volume_uses VALUES (?, ?)", (name, container_id))

    def release(self, container_id: str) -> list[str]:
        """The container is gone; the names of the anonymous volumes that nobody uses any more."""
        names = [
            row["volume"]
            for row in self._database.rows(
                "SELECT volume FROM volume_uses WHERE container = ?", (container_id,)
            )
        ]
        self._database.execute("DELETE FROM volume_uses WHERE container = ?", (container_id,))
        anonymous = "SELECT 1 FROM volumes WHERE name = ? AND anonymous"
        return [name for name in names if self._database.row(anonymous, (name,)) and not self.users(name)]

    def keep_uses(self, containers: Iterable[str]) -> None:
        """Forget the uses of all containers but these: an engine was killed while it made or removed one."""
        known = set(containers)
        for row in self._database.rows("SELECT DISTINCT container FROM volume_uses"):
            if row["container"] not in known:
                for name in self.release(row["container"]):
                    self.remove(name)

    def users(self, name: str) -> list[str]:
        rows = self._database.rows(
            "SELECT container FROM volume_uses WHERE volume = ? ORDER BY rowid", (name,)
        )
        return [row["container"] for row in rows]

    def inspect(self, name: str) -> dict[str, Any]:
        """Raises NotFound."""
        row = self._database.row("SELECT * FROM volumes WHERE name = ?", (name,))
        if row is None:
            raise NotFound(f"get {name}: no such volume")
        return {
            "CreatedAt": row["created"][:19] + "Z",
            "Driver": "local",
            "Labels": json.loads(row["labels"]) if row["labels"] else None,
            "Mountpoint": str(self.directory(name)),
            "Name": name,
            "Options": json.loads(row["options"]) if row["options"] else None,
            "Scope": "local",
        }

    def list(self, filters: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
        """The volumes that pass the filters name, label, driver and dangling. Raises InvalidParameter."""
        wanted = filters or {}
        check_keys(wanted, ("name", "label", "driver", "dangling"))
        truth(wanted, "dangling")
        rows = self._database.rows("SELECT name FROM volumes ORDER BY created DESC")
        return [volume for row in rows if self._passes(volume := self.inspect(row["name"]), wanted)]

    def _passes(self, volume: Mapping[str, Any], filters: Mapping[str, Sequence[str]]) -> bool:
        if (names := filters.get("name")) and not any(name in volume["Name"] for name in names):
            return False
        if (drivers := filters.get("driver")) and "local" not in drivers:
            return False
        if not labels_pass(filters, volume["Labels"]):
            return False
        dangling = truth(filters, "dangling")
        return dangling is None or dangling == (not self.users(volume["Name"]))

    def remove(self, name: str, *, force: bool = False) -> None:
        """Raises NotFound (unless forced), Conflict while a container has it."""
        if not self.exists(name):
            if force:
                return
            raise NotFound(f"get {name}: no such volume")
        if users := self.users(name):
            raise Conflict(
                f"remove {name}: volume is in use - [{', '.join(users)}]",
                hint="remove these containers first: docker rm -f " + " ".join(user[:12] for user in users),
            )
        if os.path.ismount(self.directory(name)):  # what is mounted there is not the volume's to remove
            raise Conflict(f"remove {name}: volume is in use")
        self._database.execute("DELETE FROM volumes WHERE name = ?", (name,))
        trees.remove(self._root / name)
        self._events.publish("volume", "destroy", name, driver="local")

    def prune(self, filters: Mapping[str, Sequence[str]], *, anonymous_only: bool) -> dict[str, Any]:
        """Remove what no container uses; `{"VolumesDeleted": names, "SpaceReclaimed": bytes}`."""
        check_keys(filters, ("label", "label!", "all"))
        everything = truth(filters, "all")
        deleted, reclaimed = [], 0
        for volume in self.list():
            name = volume["Name"]
            row = self._database.row("SELECT anonymous FROM volumes WHERE name = ?", (name,))
            if not labels_pass(filters, volume["Labels"]):
                continue
            if self.users(name) or (anonymous_only and not everything and not (row and row["anonymous"])):
                continue
            reclaimed += self.size(name)
            self.remove(name)
            deleted.append(name)
        return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}

    def size(self, name: str) -> int:
        """Bytes of the volume's files."""
        return trees.size(self.directory(name))
