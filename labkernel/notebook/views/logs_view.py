"""%logs: what containers write, live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from labkernel.commands import CommandError
from labkernel.commands.flags import Flag, FlagError, integer, parse_flags, switch
from labkernel.notebook.logs_picture import LogsPicture, Source
from labkernel.notebook.views.log_follower import LogFollower, read_log
from labkernel.notebook.views.log_lines import Lines, Written
from labkernel.notebook.views.view import PASSING, View, action, is_about

if TYPE_CHECKING:
    from docker import DockerClient

TAIL = 200
MOST = 2_000
"""Lines that one picture may have."""

HELP = f"""Usage:  %logs [OPTIONS] CONTAINER...

Show what containers write, and go on while they run

Options:
  -n, --tail int    Show the last lines only ({TAIL} unless given, {MOST} at most)
      --no-follow   Show what there is now, and stay so"""

_FLAGS: Sequence[Flag] = (integer("tail", "n", "", default=TAIL), switch("no-follow", "", ""))


@dataclass(frozen=True)
class LogsRequest:
    """What a line of %logs asks for; with `help`, nothing else."""

    names: list[str]
    tail: int = TAIL
    follow: bool = True
    help: bool = False


def read_words(words: list[str]) -> LogsRequest:
    """Raises CommandError."""
    line = " ".join(["%logs", *words])
    try:
        parsed = parse_flags(_FLAGS, words)
    except FlagError as error:
        raise CommandError(error.message, where=line, hint="%logs --help lists the options") from None
    if parsed.wants_help or not parsed.arguments:
        return LogsRequest([], help=True)
    tail = parsed.options["tail"]
    if not 1 <= tail <= MOST:
        raise CommandError(f"--tail takes a number of lines from 1 to {MOST}, not {tail}", where=line)
    return LogsRequest(list(dict.fromkeys(parsed.arguments)), tail, not parsed.options["no-follow"])


_UNKNOWN = Source("", "")


class LogsView(View):
    """The logs of `request.names`, in the order in which the lines came."""

    def __init__(self, request: LogsRequest, line: str, host: str | None) -> None:
        super().__init__(line, host)
        self._lines = Lines(request.tail)
        self._tail = request.tail
        self.moves = request.follow
        self._logs = [_Log(name, index) for index, name in enumerate(request.names)]
        self._changed: Callable[[], None] | None = None
        self._is_stale = True

    def look(self, client: DockerClient) -> LogsPicture:
        is_stale, self._is_stale = self._is_stale, False
        if is_stale:
            for log in self._logs:
                self._inspect(client, log)
            self._read_first(client)
            if self._changed is not None:
                self._follow()
        return LogsPicture([log.source for log in self._logs], self._lines.all())

    def _inspect(self, client: DockerClient, log: _Log) -> None:
        """Find the container: the one from before, or a new one that has taken its name."""
        from docker.errors import NotFound

        for name in filter(None, [log.id, log.name]):
            try:
                found = client.api.inspect_container(name)
            except NotFound:
                continue
            state = found["State"]
            ended = state["Status"] in {"exited", "dead"}
            log.name = found["Name"].lstrip("/")
            log.source = Source(log.name, state["Status"], state["ExitCode"] if ended else None)
            log.id, log.tty, log.started_at = found["Id"], found["Config"]["Tty"], state["StartedAt"]
            return
        if not log.id:
            raise CommandError(
                f"No such container: {log.name}",
                where=self.line,
                hint="%container ps -a lists the containers",
            )
        log.source = Source(log.name, "removed")

    def _read_first(self, client: DockerClient) -> None:
        """What was written before the first look, in the order of time."""
        from docker.errors import APIError

        first: list[tuple[int, Written]] = []
        for log in self._logs:
            if log.is_read:
                continue
            try:
                written = read_log(client, log.id, tty=log.tty, tail=self._tail)
            except APIError as error:  # a log that cannot be read back, such as that of --log-driver none
                raise CommandError(str(error.explanation), where=self.line) from None
            log.is_read = True
            log.since = written[-1].time if written else 0
            first += [(log.index, line) for line in written]
        for index, line in sorted(first, key=lambda entry: entry[1].time):
            self._lines.add(index, [line])

    def _follow(self) -> None:
        """Follow what has been started since the last look."""
        for log in self._logs:
            if log.source.state in {"created", "removed"} or (log.followed_id, log.followed_start) == (
                log.id,
                log.started_at,
            ):
                continue
            if log.follower is None or log.followed_id != log.id:
                if log.follower:
                    log.follower.stop()
                since = log.since if log.follower is None else 0
                take = partial(self._take, log.index)
                log.follower = LogFollower(
                    self.host, log.id, tty=log.tty, since=since, tail=self._tail, take=take
                )
            log.followed_id, log.followed_start = log.id, log.started_at
            log.follower.go()

    def _take(self, container: int, written: list[Written]) -> None:
        self._lines.add(container, written)
        changed = self._changed
        if changed is not None:
            changed()

    def concerns(self, event: Mapping[str, Any]) -> bool:
        names = {word for log in self._logs for word in (log.id, log.name)}
        concerns = is_about(event, names) and action(event) not in PASSING
        self._is_stale = self._is_stale or concerns
        return concerns

    def missed(self) -> None:
        self._is_stale = True
        for log in self._logs:  # the followers' connections have ended with the engine
            log.followed_start = ""

    def begin(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def end(self) -> None:
        self._changed = None
        for log in self._logs:
            if log.follower:
                log.follower.stop()


@dataclass
class _Log:
    """One container of the view; `name` and `id` as far as they are known."""

    name: str
    index: int
    id: str = ""
    tty: bool = False
    started_at: str = ""
    source: Source = _UNKNOWN
    is_read: bool = False
    since: int = 0
    follower: LogFollower | None = None
    followed_id: str = ""
    followed_start: str = ""
