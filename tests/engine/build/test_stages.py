"""Stages side by side: what runs together, what is said of it, and how the first failure ends the rest."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from labkernel.engine.build.interface import RunFailed, unlimited
from labkernel.engine.build.messages import KEPT, Messages
from labkernel.engine.build.recorder import EXPLANATION
from tests.engine.build.conftest import Workshop
from tests.engine.build.test_builder import read

_SHARED = "RUN --mount=type=cache,id=meeting,target=/shared"


def meets(own: str, other: str) -> str:
    """A step that ends well only while its counterpart in another stage runs too."""
    return (
        f"{_SHARED} touch /shared/{own}; for i in $(seq 400); do [ -e /shared/{other} ] && exit 0; "
        "sleep 0.05; done; exit 1\n"
    )


def waits_for(name: str) -> str:
    return f"{_SHARED} until [ -e /shared/{name} ]; do sleep 0.05; done\n"


def makes(name: str) -> str:
    return f"{_SHARED} touch /shared/{name}\n"


def announced(messages: list[dict[str, Any]]) -> list[str]:
    """The steps in the order in which they were told of: "2/5"."""
    return re.findall(r"^Step (\d+/\d+) :", "".join(m.get("stream", "") for m in messages), re.MULTILINE)


def test_what_does_not_depend_on_each_other_runs_at_once(workshop: Workshop) -> None:
    built = workshop.build(
        f"FROM busybox AS one\n{meets('a', 'b')}RUN echo 1 > /1\n"
        f"FROM busybox AS two\n{meets('b', 'a')}RUN echo 2 > /2\n"
        "FROM busybox\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n"
    )
    assert read(workshop, built.image, "1") + read(workshop, built.image, "2") == b"1\n2\n"
    assert announced(built.messages) == [f"{number}/9" for number in range(1, 10)]


@pytest.mark.parametrize(
    "asks", ["COPY --from=one /1 /got\n", "RUN --mount=from=one,target=/m cp /m/1 /got\n"]
)
def test_a_stage_goes_on_until_it_needs_another(workshop: Workshop, asks: str) -> None:
    built = workshop.build(
        f"FROM busybox AS one\n{meets('a', 'b')}RUN echo 1 > /1\nFROM busybox\n{meets('b', 'a')}{asks}"
    )
    assert read(workshop, built.image, "got") == b"1\n"


def test_caches_that_are_locked_by_each_other(workshop: Workshop) -> None:
    """Named in another order, and twice in one step."""

    def step(*names: str) -> str:
        mounts = " ".join(
            f"--mount=type=cache,sharing=locked,id={name},target=/{name}{number}"
            for number, name in enumerate(names)
        )
        return f"RUN {mounts} sleep 0.1; echo {names[0]} > /{names[0]}\n"

    built = workshop.build(
        f"FROM busybox AS one\n{step('x', 'y', 'x') * 2}FROM busybox AS two\n{step('y', 'x', 'y') * 2}"
        "FROM busybox\nCOPY --from=one /x /\nCOPY --from=two /y /\n"
    )
    assert read(workshop, built.image, "x") + read(workshop, built.image, "y") == b"x\ny\n"


def test_the_output_is_in_the_order_of_the_dockerfile(workshop: Workshop) -> None:
    """The second stage is done before the first says anything, and is told of after it all the same."""
    built = workshop.build(
        f"FROM busybox AS one\n{waits_for('two')}RUN echo said by one\n"
        f"FROM busybox AS two\nRUN echo said by two; echo and in red >&2\n{makes('two')}RUN echo 2 > /2\n"
        "FROM one\nCOPY --from=two /2 /\n"
    )
    assert announced(built.messages) == [f"{number}/9" for number in range(1, 10)]
    places = [
        match.start() for match in re.finditer(r"^(\x1b\[0m)?said by (one|two)$", built.text, re.MULTILINE)
    ]
    assert [built.text[place:].split()[2] for place in places] == ["one", "two"]
    assert built.text.index("Step 5/9") < places[1] < built.text.index("Step 6/9")


def test_equal_steps_are_done_once(workshop: Workshop) -> None:
    """As if one stage came after the other: the second finds the steps of the first in the cache."""
    common = "RUN sleep 0.3; head -c 8 /dev/urandom > /random\nENV A=1\n"
    built = workshop.build(
        f"FROM busybox AS one\n{common}FROM busybox AS two\n{common}RUN echo 2 > /2\n"
        "FROM busybox\nCOPY --from=one /random /one\nCOPY --from=two /random /two\n"
    )
    assert read(workshop, built.image, "one") == read(workshop, built.image, "two")
    assert built.text.count("Using cache") == 2
    assert built.text.index("Step 5/10") < built.text.index("Using cache") < built.text.index("Step 6/10")


def test_the_first_failure_ends_the_other_stages(workshop: Workshop) -> None:
    dockerfile = (
        f"FROM busybox AS one\nRUN echo 1 > /1\n{_SHARED} printf half-a-line; touch /shared/one; sleep 1000\n"
        f"FROM busybox AS two\n{waits_for('one')}RUN sleep 0.3; echo why it failed; exit 3\n"
        "FROM one\nCOPY --from=two /x /\n"
    )
    with pytest.raises(RunFailed) as caught:
        workshop.build(dockerfile, explain=True)
    assert (caught.value.code, caught.value.message.endswith("returned a non-zero code: 3")) == (3, True)
    assert caught.value.details["failure"]["output"] == ["why it failed"]
    said = "".join(message.get("stream", "") for message in workshop.messages)
    # What the error ends is told of last, and of the stage that was ended that it was.
    assert said.endswith("why it failed\n")
    assert re.search(r"\nhalf-a-line\n ---> Not finished: stage two has failed\nStep 4/8", said)
    assert announced(workshop.messages)[-1] == "6/8"
    # What was done by then need not be done again.
    again = workshop.build(dockerfile.replace("sleep 1000", "true").replace("exit 3", "touch /x"))
    assert again.text.count("Using cache") == 2


def test_a_stage_that_is_known_of_late_fails(workshop: Workshop) -> None:
    """Only the base image says that its stage is needed."""
    workshop.build("FROM busybox\nONBUILD COPY --from=extra /x /\n", tags=["on"])
    dockerfile = "FROM busybox AS extra\nRUN {}\nFROM on\nRUN cat /x\n"
    with pytest.raises(RunFailed):
        workshop.build(dockerfile.format("exit 3"))
    built = workshop.build(dockerfile.format("echo late > /x"))
    assert "\nlate\n" in built.text


def test_explained_as_if_they_came_one_after_the_other(workshop: Workshop) -> None:
    def build(one: str, two: str) -> dict[int, str]:
        built = workshop.build(
            f"FROM busybox AS one\nRUN {one}; touch /1\nRUN touch /x\n"
            f"FROM busybox AS two\nRUN {two}; touch /2\nRUN touch /y\n"
            "FROM busybox\nCOPY --from=one /1 /\nCOPY --from=two /2 /\n",
            explain=True,
            tags=["app"],
        )
        said = [m["aux"][EXPLANATION] for m in built.messages if EXPLANATION in m.get("aux", {})]
        assert [step["step"] for step in said] == list(range(1, 10))
        return {step["step"]: step["cause"]["kind"] for step in said if "cause" in step}

    build("sleep 0.2", "true")
    assert build("sleep 0.2", "echo new") == {5: "text", 6: "parent"}


# --- what a stage says while others have their turn


def told(*acts: Any) -> str:
    """What a reader gets of a stage that does these acts and then has its turn."""
    out: list[dict[str, Any]] = []

    async def run() -> None:
        messages = Messages(out.append, unlimited)
        for act in acts:
            act(messages)
            await asyncio.wait_for(messages.room(), 1)
        assert out == []
        await messages.begin()
        messages.line("end")

    asyncio.run(run())
    return "".join(message.get("stream", "?") for message in out)


def test_what_is_kept_is_bounded_and_its_end_stays() -> None:
    piece = "x" * 10_000 + "\n"
    acts = [lambda m: m.announce(1, 2, "RUN yes"), *[lambda m: m.printed(piece)] * (3 * KEPT // len(piece))]
    text = told(*acts, lambda m: m.printed_error("last"))
    assert text.startswith("Step 1/2 : RUN yes\n[output clipped, log limit 2MiB reached]\nxxx")
    assert text.endswith("xxx\n\x1b[91mlast\x1b[0m\nend\n")
    assert KEPT // 3 < len(text) < KEPT


def test_progress_is_not_kept() -> None:
    progress = {"status": "Downloading", "progressDetail": {"current": 1}}
    assert told(lambda m: m.output(progress), lambda m: m.stdout("a\n")) == "a\nend\n"
