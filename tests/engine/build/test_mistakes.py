"""Every kind of image that learners build wrongly, on the real engine, through its API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.engine.build.conftest import context_tar
from tests.support.daemons import Daemon
from tests.support.mistakes import MISTAKES, Mistake, marked


def error_of(engine: Daemon, mistake: Mistake) -> dict[str, Any]:
    """What the API says of a mistake: the body of a refusal, or `errorDetail` at the stream's end."""
    body = context_tar({"Dockerfile": mistake.dockerfile, **mistake.files})
    response = engine.http.call(
        "POST", f"/build?{mistake.query}", body, {"Content-Type": "application/x-tar"}
    )
    last: dict[str, Any] = json.loads(response.body.strip().split(b"\n")[-1])
    if response.status == 200:
        assert last["error"] == last["errorDetail"]["message"]
        return dict(last["errorDetail"])
    return last


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_is_told_shown_and_advised(engine: Daemon, mistake: Mistake) -> None:
    error = error_of(engine, mistake)
    failure = error["failure"]
    assert error["message"].endswith(mistake.message)
    assert mistake.hint in error["hint"]
    assert failure["line"] == mistake.line
    lines = {line["number"]: line["text"] for line in failure["lines"]}
    source = mistake.dockerfile.splitlines()
    assert lines == {number: source[number - 1] for number in lines}
    assert {*range(failure["line"], failure["endLine"] + 1)} <= set(lines)
    assert marked(failure) == mistake.marked
    assert failure.get("meaning") == mistake.meaning
    assert ("exitCode" in failure) == ("non-zero code" in mistake.message) == ("output" in failure)
