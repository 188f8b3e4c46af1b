"""The differences between Docker's answers and ours that are meant, each with its reason.

`fields` are patterns over `scenario/step: path`. Nothing else may differ.
"""

from __future__ import annotations

from tests.differential.comparison import Allowed

ALLOWED = [
    Allowed("*: headers.Server", "value", "the name and version of the server that answers"),
    Allowed(
        "*: headers.Api-Version", "value", "the newest version spoken; the calls use one that both speak"
    ),
]
