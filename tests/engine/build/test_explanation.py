"""The comparison of two builds, without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.build.explanation import (
    CopiedFile,
    Knowledge,
    StepRecord,
    align,
    compare_files,
    explain,
    is_secret,
    likeness,
)

KNOW = Knowledge(lambda key: None, lambda key: None, lambda image: True)


def steps(*codes: str, run_from: int = 99) -> list[StepRecord]:
    """A stage of these lines; each is from the cache up to the index `run_from`."""
    found: list[StepRecord] = []
    for index, code in enumerate(codes):
        parent = found[-1].image if found else ""
        image = f"{parent}/{code}" + ("'" if index >= run_from else "")
        cached = 0 < index < run_from
        found.append(StepRecord(index + 1, 0, code, code, parent, image, code, cached=cached))
    return found


@pytest.mark.parametrize(
    ("old", "new", "pairs", "removed"),
    [
        ("FROM a|RUN b", "FROM a|RUN b", {0: 0, 1: 1}, {}),
        ("FROM a|RUN b", "FROM a|RUN  b", {0: 0, 1: 1}, {}),
        ("FROM a|RUN b", "FROM a|ENV x=1|RUN b", {0: 0, 2: 1}, {}),
        ("FROM a|ENV x=1|RUN b", "FROM a|RUN b", {0: 0, 1: 2}, {1: (1,)}),
        ("FROM a|RUN b|ENV x=1", "FROM a|RUN c|ENV x=1", {0: 0, 1: 1, 2: 2}, {}),
        ("FROM a|RUN b|ENV x=1", "FROM a|COPY c d|RUN e|ENV x=1", {0: 0, 2: 1, 3: 2}, {}),
        ("FROM a|RUN b", "FROM a", {0: 0}, {1: (1,)}),
        ("", "FROM a", {}, {}),
    ],
)
def test_alignment(old: str, new: str, pairs: dict[int, int], removed: dict[int, tuple[int, ...]]) -> None:
    found = align(steps(*filter(None, old.split("|"))), steps(*new.split("|")))
    assert (dict(found.old), dict(found.removed)) == (pairs, removed)


def test_an_inserted_line_is_the_cause_and_not_what_follows() -> None:
    old = steps("FROM a", "RUN b", "RUN c")
    new = steps("FROM a", "RUN x", "RUN b", "RUN c", run_from=1)
    causes = explain(old, new, KNOW)
    assert causes == [
        None,
        {"kind": "added"},
        {"kind": "parent", "step": 2, "root": 2},
        {"kind": "parent", "step": 3, "root": 2},
    ]


def test_a_step_before_that_came_from_the_cache_of_another_build() -> None:
    old = steps("FROM a", "RUN b", "RUN c")
    new = steps("FROM a", "RUN x", "RUN c", run_from=2)
    cause = explain(old, new, KNOW)[2]
    assert cause is not None
    assert (cause["kind"], cause["step"], cause["because"]["new"]) == ("parent-differs", 2, "RUN x")


def test_what_has_no_known_cause_says_so() -> None:
    old, new = steps("FROM a", "RUN b"), steps("FROM a", "RUN b", run_from=1)
    assert explain(old, new, KNOW)[1] == {"kind": "unknown"}
    gone = replace(KNOW, exists=lambda image: False)
    assert explain(old, new, gone)[1] == {"kind": "image-removed", "image": old[1].image}


def test_content_whose_files_are_not_known() -> None:
    old, new = steps("FROM a", "COPY . /"), steps("FROM a", "COPY . /", run_from=1)
    new[1] = replace(new[1], command="other", files="key", source="context")
    assert explain(old, new, KNOW)[1] == {"kind": "content", "source": "context"}
    new[1] = replace(new[1], source="url")
    assert explain(old, new, KNOW)[1] == {"kind": "content", "source": "url"}


@pytest.mark.parametrize(
    ("name", "secret"),
    [("DB_PASSWORD", True), ("api_key", True), ("GITHUB_TOKEN", True), ("VERSION", False), ("GOOS", False)],
)
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


def test_likeness() -> None:
    assert likeness(["a", "b"], ["a", "b"]) == 1
    assert likeness(["a", "b", "c"], ["x", "y", "c"]) == 0


LINES = st.sampled_from(["RUN a", "RUN b", "ENV c=1", "COPY d e", "WORKDIR /f"])
FILES = st.dictionaries(
    st.sampled_from([f"f{number}" for number in range(12)]),
    st.builds(
        CopiedFile, st.sampled_from(["1", "2", "3"]), st.integers(0, 2), st.sampled_from([0o644, 0o755])
    ),
)


@given(old=st.lists(LINES, max_size=8), new=st.lists(LINES, max_size=8))
def test_an_alignment_is_in_order_and_complete(old: Sequence[str], new: Sequence[str]) -> None:
    before, after = steps(*old), steps(*new)
    found = align(before, after)
    pairs = sorted(found.old.items())
    assert [i for _, i in pairs] == sorted({i for _, i in pairs})
    assert all(before[i].name == after[j].name for j, i in pairs)
    removed = [i for some in found.removed.values() for i in some]
    assert sorted([*removed, *(i for _, i in pairs)]) == list(range(len(old)))
    if old == new:
        assert pairs == [(i, i) for i in range(len(old))]


@given(old=st.lists(LINES, max_size=8), new=st.lists(LINES, max_size=8), data=st.data())
def test_every_step_run_has_a_cause_and_the_root_is_the_first(
    old: list[str], new: list[str], data: st.DataObject
) -> None:
    run_from = data.draw(st.integers(1, len(new) + 1))
    after = steps("FROM x", *new, run_from=run_from)
    causes = explain(steps("FROM x", *old), after, KNOW)
    for step, cause in zip(after[1:], causes[1:], strict=True):
        assert (cause is None) == step.cached
    for cause in causes[run_from + 1 :]:
        assert cause is not None
        assert cause["kind"] == "parent"
        first = causes[run_from]
        assert first is not None
        assert cause["root"] == first.get("root", run_from + 1)


@given(old=FILES, new=FILES)
def test_changes_of_files_add_up(old: dict[str, CopiedFile], new: dict[str, CopiedFile]) -> None:
    count = compare_files(old, new, lambda path, file: True)["count"]
    assert count["added"] == len(new.keys() - old.keys())
    assert count["removed"] == len(old.keys() - new.keys())
    differing = [p for p in old.keys() & new.keys() if old[p].digest != new[p].digest]
    assert count["changed"] + count["attributes"] == len(differing)
    assert compare_files(old, old)["count"] == dict.fromkeys(count, 0)
