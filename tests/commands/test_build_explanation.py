"""The words for every cause, and the hints."""

from __future__ import annotations

from typing import Any

import pytest

from labkernel.commands.build_explanation import Explanation, reason


def explanation(
    *steps: tuple[str, dict[str, Any] | None], waste: list[dict[str, Any]] | None = None
) -> Explanation:
    """Steps of an instruction and a cause; without a cause they are from the cache."""
    found = Explanation()
    for number, (instruction, cause) in enumerate(steps, 1):
        said: dict[str, Any] = {"step": number, "instruction": instruction, "cached": cause is None}
        found.add({"labkernel.explanation": said if cause is None else {**said, "cause": cause}})
    found.add({"labkernel.waste": waste or []})
    return found


def files(**kinds: list[dict[str, Any]]) -> dict[str, Any]:
    count = {kind: len(kinds.get(kind, [])) for kind in ("changed", "attributes", "added", "removed")}
    return {"kind": "files", "source": "context", **kinds, "count": count}


CHANGED = {"path": "app.py", "old_hash": "a" * 64, "new_hash": "b" * 64, "old_size": 1200, "new_size": 1300}
ONLY = {"path": "b.py", "hash": "c" * 64, "size": 10}
ARGUMENT = {"name": "V", "old": "1", "new": "2"}
PARENT = {"kind": "parent", "step": 3, "root": 3}


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (files(changed=[CHANGED]), "app.py changed (1.2kB -> 1.3kB)"),
        (files(changed=[{**CHANGED, "new_size": 1200}]), "app.py changed (1.2kB, aaaaaaaa -> bbbbbbbb)"),
        (
            files(changed=[CHANGED] * 3),
            "app.py changed (1.2kB -> 1.3kB), app.py changed (1.2kB -> 1.3kB), and 1 more",
        ),
        (files(added=[ONLY]), "b.py was added (10B)"),
        (files(removed=[ONLY]), "b.py was removed"),
        (files(removed=[{**ONLY, "ignored": True}]), "b.py is excluded by .dockerignore"),
        (
            files(attributes=[{"path": "x", "old_mode": "0644", "new_mode": "0755"}]),
            "the mode of x changed (0644 -> 0755)",
        ),
        (
            files(attributes=[{"path": "x", "old_owner": "0:0", "new_owner": "5:0"}]),
            "the owner of x changed (0:0 -> 5:0)",
        ),
        (files(), "the names or the order of its files changed"),
        ({**files(added=[ONLY]), "root": 2}, "b.py was added (10B) (step 2 was run again)"),
        ({"kind": "content", "source": "url"}, "what the URL gives changed"),
        ({"kind": "text", "old": "RUN a", "new": "RUN b"}, "the line changed: RUN a -> RUN b"),
        (
            {"kind": "text", "old": "a", "new": "b", "heredoc": True},
            "its here-document changed: a -> b",
        ),
        ({"kind": "argument", "arguments": [ARGUMENT]}, "build argument V changed (1 -> 2)"),
        ({"kind": "argument", "arguments": [{**ARGUMENT, "old": None}]}, "build argument V was added (2)"),
        (
            {"kind": "argument", "arguments": [{"name": "TOKEN", "secret": True}]},
            "build argument TOKEN changed (not shown)",
        ),
        ({"kind": "step-removed", "instructions": ["RUN a"]}, "the step before it was removed: RUN a"),
        (
            {"kind": "base", "step": 1, "old": "sha256:" + "1" * 64, "new": "sha256:" + "2" * 64},
            "the base image of step 1 is another (111111111111 -> 222222222222)",
        ),
        (PARENT, "step 3 was run again"),
        ({**PARENT, "root": 2}, "step 3 was run again, which goes back to step 2"),
        (
            {"kind": "parent-differs", "step": 2, "root": 2, "because": {"kind": "added"}},
            "step 2 is not what it was: because this line is new",
        ),
        ({"kind": "no-cache"}, "--no-cache turns the cache off"),
        ({"kind": "cache-from"}, "the images of --cache-from do not hold it"),
        ({"kind": "image-removed", "image": "x"}, "the image of this step was removed"),
        ({"kind": "of a later version"}, "the cache had no image of it"),
    ],
)
def test_causes(cause: dict[str, Any], words: str) -> None:
    assert reason(cause) == f"because {words}"


@pytest.mark.parametrize(
    ("copy", "install", "hint"),
    [
        ("COPY . /app", "RUN pip install -r requirements.txt", "COPY requirements.txt first"),
        ("COPY --chown=1 . .", "RUN npm ci", "COPY package.json and its lock file first"),
        ("COPY ./ /src", "RUN go build ./...", "COPY go.mod and go.sum first"),
        ("COPY src /app", "RUN pip install -r requirements.txt", None),
        ("COPY . /app", "RUN make", None),
    ],
)
def test_what_to_copy_first(copy: str, install: str, hint: str | None) -> None:
    found = explanation(("FROM x", None), (copy, files(changed=[CHANGED])), (install, PARENT))
    assert hint is None if found.hint is None else hint is not None and found.hint.startswith(hint)


def test_the_summary_is_a_line() -> None:
    found = explanation(("FROM x", None), ("COPY . /app", files(changed=[CHANGED])), ("RUN b", PARENT))
    assert found.summary == (
        "1 of 3 steps from the cache; first run again: step 2 COPY . /app because app.py changed "
        "(1.2kB -> 1.3kB)"
    )


def test_waste_comes_with_what_saves_it() -> None:
    waste = {
        "step": 2,
        "instruction": "RUN a",
        "kind": "deleted",
        "size": 5000,
        "count": 2,
        "paths": ["/big"],
    }
    found = explanation(("FROM x", None), waste=[{**waste, "by": 3}, {**waste, "kind": "apt-lists"}])
    assert found.waste_lines == [
        "step 2 wastes 5kB: /big and 1 more (deleted by step 3); "
        "delete it in the RUN that makes it: a later step hides a file and leaves its bytes",
        "step 2 wastes 5kB: /big and 1 more (package lists); "
        "end that RUN with: && rm -rf /var/lib/apt/lists/*",
    ]
    assert explanation(("FROM x", None), waste=[{**waste, "size": 10}]).waste_lines == []


def test_nothing_said_is_nothing_shown() -> None:
    assert not Explanation()
    assert Explanation().text == ""
