"""Every command by the words that call it."""

from __future__ import annotations

from labkernel.commands import (
    archive,
    attach,
    build,
    events,
    exec,
    images,
    inspect,
    lifecycle,
    logs,
    networks,
    port,
    processes,
    prune,
    ps,
    pull,
    registry,
    run,
    stats,
    system,
    transfer,
    volumes,
)
from labkernel.commands.command import Command, Group

CONTAINER_COMMANDS: dict[str, Command] = {
    "attach": attach.ATTACH,
    "commit": transfer.COMMIT,
    "cp": archive.CP,
    "create": run.CREATE,
    "diff": processes.DIFF,
    "exec": exec.EXEC,
    "export": archive.EXPORT,
    "kill": lifecycle.KILL,
    "logs": logs.LOGS,
    "pause": lifecycle.PAUSE,
    "port": port.PORT,
    "ps": ps.PS,
    "rename": lifecycle.RENAME,
    "restart": lifecycle.RESTART,
    "rm": lifecycle.RM,
    "run": run.RUN,
    "start": lifecycle.START,
    "stats": stats.STATS,
    "stop": lifecycle.STOP,
    "top": processes.TOP,
    "unpause": lifecycle.UNPAUSE,
    "update": lifecycle.UPDATE,
    "wait": lifecycle.WAIT,
}
"""Commands with the same name at the top and in the group `container`."""

IMAGE_COMMANDS: dict[str, Command] = {
    "build": build.BUILD,
    "history": images.HISTORY,
    "import": transfer.IMPORT,
    "load": transfer.LOAD,
    "pull": pull.PULL,
    "push": pull.PUSH,
    "save": transfer.SAVE,
    "tag": images.TAG,
}
"""Commands with the same name at the top and in the group `image`."""

COMMANDS: dict[str, Command] = {
    **CONTAINER_COMMANDS,
    **IMAGE_COMMANDS,
    "events": events.EVENTS,
    "images": images.IMAGES,
    "info": system.INFO,
    "inspect": inspect.INSPECT,
    "login": registry.LOGIN,
    "logout": registry.LOGOUT,
    "rmi": images.RMI,
    "search": registry.SEARCH,
    "version": system.VERSION,
}

GROUPS: dict[str, Group] = {
    "builder": Group("builder", "Work with builds", {"build": build.BUILD, "prune": prune.BUILDS}),
    "container": Group(
        "container",
        "Work with containers",
        {
            **CONTAINER_COMMANDS,
            "inspect": inspect.inspect_command("container"),
            "list": ps.PS,
            "ls": ps.PS,
            "prune": prune.CONTAINERS,
            "remove": lifecycle.RM,
        },
    ),
    "image": Group(
        "image",
        "Work with images",
        {
            **IMAGE_COMMANDS,
            "inspect": inspect.inspect_command("image"),
            "list": images.IMAGES,
            "ls": images.IMAGES,
            "prune": prune.IMAGES,
            "remove": images.RMI,
            "rm": images.RMI,
        },
    ),
    "network": Group(
        "network",
        "Work with networks",
        {
            "connect": networks.CONNECT,
            "create": networks.CREATE,
            "disconnect": networks.DISCONNECT,
            "inspect": inspect.inspect_command("network"),
            "list": networks.LS,
            "ls": networks.LS,
            "prune": prune.NETWORKS,
            "remove": networks.RM,
            "rm": networks.RM,
        },
    ),
    "system": Group(
        "system",
        "Work with the engine",
        {"df": system.DF, "events": events.EVENTS, "info": system.INFO, "prune": prune.SYSTEM},
    ),
    "volume": Group(
        "volume",
        "Work with volumes",
        {
            "create": volumes.CREATE,
            "inspect": inspect.inspect_command("volume"),
            "list": volumes.LS,
            "ls": volumes.LS,
            "prune": prune.VOLUMES,
            "remove": volumes.RM,
            "rm": volumes.RM,
        },
    ),
}
