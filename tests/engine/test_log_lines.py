"""The log's lines: a record is one line, whatever is in it."""

from __future__ import annotations

import json
import logging
import re
import sys

from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.log_lines import LineFormatter


def line(message: str, level: int = logging.INFO, *, failed: bool = False) -> str:
    what = None
    if failed:
        try:
            raise ValueError("of no use")
        except ValueError:
            what = sys.exc_info()
    return LineFormatter().format(logging.LogRecord("a.b", level, "f.py", 1, message, None, what))


def test_the_fields() -> None:
    found = re.fullmatch(
        r'time="([^"]+)" level=warning msg="listening on x" module="a.b"', line("listening on x", 30)
    )
    assert found
    assert "T" in found[1]
    assert 'error="Traceback' in line("x", failed=True)


@given(st.text())
def test_a_record_is_one_line_and_its_message_comes_back(message: str) -> None:
    said = line(message, failed=True)
    assert len(said.split("\n")) == 1
    assert json.JSONDecoder().raw_decode(said.partition(" msg=")[2])[0] == message
