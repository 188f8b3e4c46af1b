"""`--chmod`, with the machine's chmod as the oracle."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labkernel.engine.build.modes import mode_change
from labkernel.engine.errors import InvalidParameter

ACTIONS = st.tuples(
    st.sampled_from(["u", "g", "o", "a", "ug", "go", "ugo"]),
    st.sampled_from("+-="),
    st.sampled_from(["", "r", "w", "x", "X", "rw", "rwX", "u", "g", "o", "s", "t", "rws"]),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(clauses=st.lists(ACTIONS, min_size=1, max_size=3), mode=st.integers(0, 0o777), directory=st.booleans())
def test_does_what_chmod_does(
    tmp_path: Path, clauses: list[tuple[str, str, str]], mode: int, directory: bool
) -> None:
    text = ",".join("".join(clause) for clause in clauses)
    path = tmp_path / ("d" if directory else "f")
    if directory:
        path.mkdir(exist_ok=True)
    else:
        path.touch()
    path.chmod(mode)
    subprocess.run(["chmod", text, path], check=True)
    assert mode_change(text)(mode, directory) == stat.S_IMODE(path.stat().st_mode)


def test_octal() -> None:
    assert mode_change("755")(0o600, False) == 0o755
    assert mode_change("4711")(0, True) == 0o4711


@pytest.mark.parametrize("text", ["888", "", "77777", "u", "u+q", "x+r", "u+r,", "+-,"])
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid chmod flag"):
        mode_change(text)
