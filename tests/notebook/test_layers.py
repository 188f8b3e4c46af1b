from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.commands import CommandError
from labkernel.commands.history import instruction
from labkernel.notebook.layers import layers_of, stack_of
from labkernel.notebook.layers_picture import LayersPicture
from tests.support.daemons import Daemon


def entry(created_by: str, size: int = 0) -> dict[str, Any]:
    return {"CreatedBy": created_by, "Size": size, "Comment": ""}


@pytest.mark.parametrize(
    ("created_by", "expected"),
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', 'CMD ["sh"]'),
        ("/bin/sh -c #(nop) ADD dir:0123456789ab in /src ", "ADD dir in /src"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("|1 A=1 /bin/sh -c echo $A", "RUN echo $A"),
        ("RUN /bin/sh -c echo hi # buildkit", "RUN /bin/sh -c echo hi"),
        ("", "(no record of how it was made)"),
    ],
)
def test_history_reads_as_a_dockerfile(created_by: str, expected: str) -> None:
    assert instruction(entry(created_by)) == expected


HISTORY = [
    entry('/bin/sh -c #(nop)  CMD ["x"]'),
    entry("/bin/sh -c echo nothing written"),
    entry("/bin/sh -c #(nop) ADD file:0123456789 in /x ", 5),
    entry("/bin/sh -c #(nop) WORKDIR /go"),
    entry("imported", 100),
]


@pytest.mark.parametrize(
    ("diff_ids", "expected"),
    [
        (["a", "b"], [None, None, "b", None, "a"]),
        (["a", "b", "c"], [None, "c", "b", None, "a"]),
        (["a", "b", "c", "d"], [None, "d", "c", "b", "a"]),
    ],
)
def test_layers_are_matched_to_the_history(diff_ids: list[str], expected: list[str | None]) -> None:
    assert [layer.diff_id for layer in layers_of(HISTORY, diff_ids, {})] == expected


def test_a_layer_is_shared_with_those_that_have_the_same_below_it() -> None:
    others = {"base": ["a"], "sibling": ["a", "b", "x"], "same layer elsewhere": ["z", "b"]}
    found = {layer.diff_id: layer.shared_with for layer in layers_of(HISTORY, ["a", "b", "c"], others)}
    assert found["a"] == ("base", "sibling")
    assert found["b"] == ("sibling",)
    assert found["c"] == ()


@given(
    st.lists(st.builds(entry, st.text(), st.integers(0, 3))),
    st.lists(st.text(), max_size=4),
    st.dictionaries(st.text(), st.lists(st.text()), max_size=2),
)
def test_any_history_gives_one_row_an_entry(
    history: list[dict[str, Any]], diff_ids: list[str], others: dict[str, list[str]]
) -> None:
    assert len(layers_of(history, diff_ids, others)) == len(history)


def test_a_real_image_and_its_container(docker_host: Daemon) -> None:
    built = docker_host.docker(
        "build", "-t", "layered", "-", input="FROM busybox\nRUN head -c 5000 /dev/zero > /five\nENV A=1\n"
    )
    assert built.returncode == 0, built.stderr
    run = docker_host.docker("run", "--name", "writer", "layered", "sh", "-c", "echo hello > /new; rm /five")
    assert run.returncode == 0, run.stderr
    client = docker_host.client()
    env, five, base = stack_of(client, "layered").layers
    assert (env.instruction, env.diff_id) == ("ENV A=1", None)
    assert (five.size, five.shared_with) == (5000, ())
    assert base.shared_with == ("busybox",)

    stack = stack_of(client, "writer")
    assert stack.writable is not None
    assert (stack.writable.added, stack.writable.deleted) == (1, 1)
    picture = LayersPicture([stack])
    assert "container writer, on image layered" in picture.text
    assert "shared with busybox" in picture.text
    assert "own" in picture._repr_html_()

    with pytest.raises(CommandError, match="No such image or container: nothing"):
        stack_of(client, "nothing")
    client.close()


def test_the_image_that_others_are_made_from_is_named_first() -> None:
    history = [{"Size": 1, "CreatedBy": "base"}]
    [layer] = layers_of(history, ["a"], {"app": ["a", "b", "c"], "app:v2": ["a", "b", "c"], "golang": ["a"]})
    assert layer.shared_with == ("golang", "app", "app:v2")
