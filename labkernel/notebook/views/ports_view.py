"""%ports: the published ports, live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from labkernel.notebook.ports_table import PortsTable, check_names, ports_table
from labkernel.notebook.views.view import PASSING, View, action

if TYPE_CHECKING:
    from docker import DockerClient


class PortsView(View):
    """The ports of the containers called `names`, or of all."""

    def __init__(self, names: Sequence[str], line: str, host: str | None) -> None:
        super().__init__(line, host)
        self._names = names
        self._is_first = True

    def look(self, client: DockerClient) -> PortsTable:
        table = ports_table(client, self._names, host=self.host)
        if self._is_first:  # later on, a container may go
            check_names(table)
            self._is_first = False
        return table

    def concerns(self, event: Mapping[str, Any]) -> bool:
        return event.get("Type") in {"container", "network"} and action(event) not in PASSING
