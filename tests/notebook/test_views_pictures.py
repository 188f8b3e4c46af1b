"""The pictures of logs, and what the pictures of all kinds have in common."""

from __future__ import annotations

import json

import pytest

from labkernel.notebook.layers import Layer, Stack, Writable
from labkernel.notebook.layers_picture import LayersPicture
from labkernel.notebook.logs_picture import LogsPicture, Source
from labkernel.notebook.ports_table import PortsTable, Published, Unpublished
from labkernel.notebook.views.layer_files import ADDED, Change, LayerFiles
from labkernel.notebook.views.log_lines import ERR, NOTE, OUT, Line
from labkernel.notebook.views.picture import MIME, Picture

EVIL = "<img src=x onerror=alert(1)>"
LINES = [
    Line(7, 0, OUT, 10**18, f"hello {EVIL}"),
    Line(8, 1, ERR, 10**18 + 10**6, "oh"),
    Line(9, 1, NOTE, 0, "…"),
]
LOGS = LogsPicture([Source("web", "running"), Source(EVIL, "exited", 3)], LINES)
FILES = LayerFiles(1200, 1, 0, (Change(ADDED, EVIL, 5),))
STACK = Stack(
    name=EVIL,
    image="sha256:1",
    size=5,
    layers=(Layer("CMD x", 0, None), Layer(f"RUN {EVIL}", 5, "sha256:2", (EVIL,), FILES)),
    container=EVIL,
    writable=Writable("1", True, 5, 1, 0, 2, (Change(ADDED, EVIL),)),
)
PORTS = PortsTable([Published("h", 1, "tcp", EVIL, 1, EVIL, EVIL)], [Unpublished(EVIL, EVIL, EVIL)])


@pytest.mark.parametrize("picture", [LOGS, LayersPicture([STACK], is_counting=True), PORTS])
def test_every_form_is_there_and_no_name_is_html(picture: Picture) -> None:
    bundle = picture.bundle(note="", live=True)
    assert "<img" not in bundle["text/html"]
    assert EVIL in bundle["text/plain"]
    data = json.loads(json.dumps(bundle[MIME]))
    assert data["kind"] == picture.kind
    assert data["live"] is True
    assert {"kind": data.pop("kind"), "note": data.pop("note"), "live": data.pop("live"), **data} == bundle[
        MIME
    ]


def test_logs_as_text() -> None:
    assert LOGS.text.splitlines() == [f"web: hello {EVIL}", f"{EVIL}: oh", f"{EVIL}: …"]
    assert LogsPicture([Source("web", "running")], LINES[:1]).text == f"hello {EVIL}"
    assert LogsPicture([Source("web", "running")], []).text == "web: nothing written yet"


def test_logs_as_data() -> None:
    assert LOGS.data["sources"][1] == {"name": EVIL, "state": "exited", "status": "exited (3)"}
    assert LOGS.data["lines"][:2] == [
        [7, 0, "out", 10**12, f"hello {EVIL}"],
        [8, 1, "err", 10**12 + 1, "oh"],
    ]


def test_files_of_layers_in_the_picture() -> None:
    text = LayersPicture([STACK]).text
    assert "1,200 added, 1 changed; shared with" in text
    assert "1 added, 2 deleted" in text
    layers = LayersPicture([STACK]).data["stacks"][0]["layers"]
    assert [layer["id"] for layer in layers] == [None, "2"]
    assert layers[0]["settings"] is True
    assert layers[1]["files"]["paths"] == [["added", EVIL, 5]]
