"""The engine's log: `time="..." level=info msg="..."` on each line, as dockerd's."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
}
"""dockerd's names for them."""
_NAMES = {
    **{number: name for name, number in LEVELS.items()},
    logging.WARNING: "warning",
}


class LineFormatter(logging.Formatter):
    """One line for each record, whatever is in it: a traceback is a field, with its line ends escaped."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="microseconds")
        fields = {"msg": record.getMessage(), "module": record.name}
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        level = _NAMES.get(record.levelno, record.levelname.lower())
        said = " ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in fields.items())
        return f'time="{when}" level={level} {said}'


def log_to_standard_error(level: str) -> None:
    """`level` is one of LEVELS."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=LEVELS[level], handlers=[handler])
