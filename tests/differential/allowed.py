"""The differences between Docker's answers and ours that are meant, each with its reason.

`fields` are patterns over `scenario/step: path`. Nothing else may differ.
"""

from __future__ import annotations

from tests.differential.comparison import Allowed

_NEWER = "added to the API since the Docker that is compared with"

ALLOWED = [
    Allowed("*: headers.Server", "value", "the name and version of the server that answers"),
    Allowed(
        "*: headers.Api-Version", "value", "the newest version spoken; the calls use one that both speak"
    ),
    Allowed("*hint", "added", "our errors say what to do next"),
    Allowed("system.ping/*: headers.Swarm", "added", _NEWER),
    Allowed("system.ping/*: headers.Builder-Version", "added", _NEWER),
    Allowed("*HostConfig.Runtime", "value", "the name of the runtime"),
    Allowed("*GraphDriver.Data.*", "any", "where the layers lie is the engine's own affair"),
]
