"""Images built wrongly, as learners do: what the engine says, what it advises, and where it points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mistake:
    """`message` ends Docker's own message, `hint` is in the advice, `marked` is the text underlined in line
    `line`; `meaning` is what the exit code says. `query` is added to the request."""

    name: str
    dockerfile: str
    message: str
    hint: str
    line: int
    marked: str
    files: Mapping[str, str] = field(default_factory=dict)
    meaning: str | None = None
    query: str = ""


SCRIPT = "#!/bin/sh\necho hello\n"
WINDOWS_SCRIPT = SCRIPT.replace("\n", "\r\n")

MISTAKES = (
    # --- the file itself
    Mistake(
        "no instruction",
        "# soon\n",
        "file with no instructions",
        "a Dockerfile begins with FROM",
        1,
        "# soon",
    ),
    Mistake("no FROM", "RUN true\n", "no build stage in current context", "begins with FROM", 1, "RUN"),
    Mistake("typo", "FROM busybox\nRUNN true\n", "unknown instruction: RUNN", "did you mean RUN?", 2, "RUNN"),
    Mistake(
        "lost backslash",
        "FROM busybox\nRUN echo one &&\n    echo two\n",
        "unknown instruction: echo",
        "does this go on from line 2? Then that line has to end with a backslash",
        3,
        "echo",
    ),
    Mistake(
        "command without RUN",
        "FROM busybox\n\nmkdir /app\n",
        "unknown instruction: mkdir",
        "commands belong behind RUN: RUN mkdir /app",
        3,
        "mkdir",
    ),
    Mistake(
        "unknown flag",
        "FROM busybox\nCOPY --chwon=daemon a /\n",
        "Unknown flag: chwon",
        "did you mean --chown?",
        2,
        "--chwon",
    ),
    Mistake(
        "ENV with spaces",
        "FROM busybox\nENV GREETING=good morning\n",
        'can\'t find = in "morning". Must be of the form: name=value',
        'ENV NAME="two words"',
        2,
        "morning",
    ),
    Mistake(
        "EXPOSE with a word",
        "FROM busybox\nEXPOSE http\n",
        "nvalid containerPort: http",
        "EXPOSE 8080",
        2,
        "http",
    ),
    Mistake(
        "here-document without end",
        "FROM busybox\nRUN <<EOF\necho hello\n EOF\n",
        "unterminated heredoc",
        "a line with its name alone",
        2,
        "RUN <<EOF",
    ),
    Mistake(
        "no argument",
        "FROM busybox\nWORKDIR\n",
        "WORKDIR requires exactly one argument",
        "it is written so: WORKDIR /app",
        2,
        "WORKDIR",
    ),
    Mistake(
        "HEALTHCHECK without CMD",
        "FROM busybox\nHEALTHCHECK curl localhost\n",
        'Unknown type "CURL" in HEALTHCHECK (try CMD)',
        "HEALTHCHECK takes CMD and a command, or NONE",
        2,
        "curl",
    ),
    Mistake(
        "no comma in JSON",
        'FROM busybox\nCOPY ["a" "b"]\n',
        "",
        "with a comma between two of them",
        2,
        "COPY",
    ),
    # --- images
    Mistake(
        "no such tag",
        "FROM busybox:lastest\n",
        "",
        "there is no tag lastest of busybox",
        1,
        "lastest",
    ),
    Mistake(
        "another platform",
        "FROM --platform=linux/s390x busybox\nRUN true\n",
        "",
        "without --platform=linux/s390x the build is for this machine",
        1,
        "--platform=linux/s390x",
    ),
    Mistake(
        "base misspelt",
        "FROM busyboy\n",
        "",
        "did you mean busybox",
        1,
        "busyboy",
    ),
    Mistake(
        "base in capitals",
        "FROM BusyBox\n",
        "repository name (library/BusyBox) must be lowercase",
        "names of images are in lower case",
        1,
        "BusyBox",
    ),
    Mistake(
        "stage misspelt",
        "FROM busybox AS build\nFROM busybox\nCOPY --from=biuld /etc/passwd /\n",
        "",
        "did you mean build?",
        3,
        "biuld",
    ),
    Mistake(
        "scratch has no shell",
        "FROM scratch\nRUN true\n",
        "",
        "scratch is empty, it has no shell",
        2,
        "RUN",
    ),
    # --- files
    Mistake(
        "outside of the context",
        "FROM busybox\nCOPY ../secret /\n",
        "forbidden path outside the build context: ../secret ()",
        "a build sees nothing outside of its context",
        2,
        "../secret",
    ),
    Mistake(
        "left out by .dockerignore",
        "FROM busybox\nCOPY app.log /\n",
        "file not found in build context or excluded by .dockerignore: stat app.log: file does not exist",
        "app.log is excluded by .dockerignore, line 2: *.log",
        2,
        "app.log",
        {".dockerignore": "# logs\n*.log\n", "app.log": "x"},
    ),
    Mistake(
        "in another folder",
        "FROM busybox\nCOPY main.py /\n",
        "stat main.py: file does not exist",
        "did you mean src/main.py?",
        2,
        "main.py",
        {"src/main.py": "x", "README": "x"},
    ),
    Mistake(
        "not there at all",
        "FROM busybox\nCOPY main.py /\n",
        "stat main.py: file does not exist",
        "the build context, the folder given to docker build, has Dockerfile, README",
        2,
        "main.py",
        {"README": "x"},
    ),
    Mistake(
        "wrong case",
        "FROM busybox\nCOPY Requirements.TXT /\n",
        "stat Requirements.TXT: file does not exist",
        "did you mean requirements.txt?",
        2,
        "Requirements.TXT",
        {"requirements.txt": "flask\n"},
    ),
    Mistake(
        "several files, no folder",
        "FROM busybox\nCOPY a b /app\n",
        "the destination must be a directory and end with a /",
        "end the destination with a slash, so that it is a folder: /app/",
        2,
        "/app",
        {"a": "a", "b": "b"},
    ),
    # --- commands
    Mistake(
        "another distribution's package manager",
        "FROM busybox\nRUN apt-get update\n",
        "returned a non-zero code: 127",
        "apt-get is the package manager of debian and ubuntu; FROM debian has it",
        2,
        "apt-get",
        meaning="command not found",
    ),
    Mistake(
        "sudo",
        "FROM busybox\nRUN sudo mkdir /app\n",
        "returned a non-zero code: 127",
        "a build's steps run as root already: leave sudo out",
        2,
        "sudo",
        meaning="command not found",
    ),
    Mistake(
        "command misspelt, in a here-document",
        "FROM busybox\nRUN <<EOF\nset -e\necho one\nehco two\nEOF\nCMD true\n",
        "returned a non-zero code: 127",
        "there is no command ehco; did you mean echo?",
        2,
        "ehco",
        meaning="command not found",
    ),
    Mistake(
        "no bash",
        "FROM busybox\nRUN bash -c 'echo hello'\n",
        "returned a non-zero code: 127",
        "this image has no bash: use sh",
        2,
        "bash",
        meaning="command not found",
    ),
    Mistake(
        "no python",
        "FROM busybox\nRUN echo one && \\\n    python -m http.server\n",
        "returned a non-zero code: 127",
        "this image has no python",
        2,
        "python",
        meaning="command not found",
    ),
    Mistake(
        "not marked as a program",
        "FROM busybox\nCOPY run.sh /\nRUN /run.sh\n",
        "returned a non-zero code: 126",
        "RUN chmod +x /run.sh before, or COPY --chmod=755",
        3,
        "/run.sh",
        {"run.sh": SCRIPT},
        meaning="found, but it cannot be executed",
    ),
    Mistake(
        "Windows line ends",
        "FROM busybox\nCOPY --chmod=755 run.sh /\nRUN /run.sh\n",
        "returned a non-zero code: 127",
        "run.sh has Windows line ends (CRLF)",
        3,
        "/run.sh",
        {"run.sh": WINDOWS_SCRIPT},
        meaning="command not found",
    ),
    Mistake(
        "cd is forgotten",
        "FROM busybox\nRUN mkdir /app && echo hello > /app/a && cd /app\nRUN cat a\n",
        "returned a non-zero code: 1",
        "the cd of line 2 ended with its own RUN. WORKDIR /app is kept",
        3,
        "RUN",
    ),
    Mistake(
        "not copied",
        "FROM busybox\nWORKDIR /app\nRUN sort words.txt\n",
        "returned a non-zero code: 2",
        "words.txt is in the build context, and not in the image at this line: COPY it before",
        3,
        "words.txt",
        {"words.txt": "b\na\n"},
    ),
    Mistake(
        "export is forgotten",
        'FROM busybox\nRUN export NAME=world\nRUN test -n "$NAME"\n',
        "returned a non-zero code: 1",
        "ENV NAME=... is kept for what follows",
        3,
        "NAME",
    ),
    Mistake(
        "not root any more",
        "FROM busybox\nUSER daemon\nRUN mkdir /app\n",
        "returned a non-zero code: 1",
        "since line 2 (USER daemon) steps run as daemon",
        3,
        "RUN",
    ),
    Mistake(
        "unknown user",
        "FROM busybox\nUSER learner\nRUN true\n",
        "",
        "the image has no user learner: RUN useradd learner",
        3,
        "RUN",
    ),
    Mistake(
        "ARG before FROM",
        'ARG VERSION=7\nFROM busybox\nRUN test -n "$VERSION"\n',
        "returned a non-zero code: 1",
        "write ARG VERSION once more below FROM",
        3,
        "VERSION",
    ),
    Mistake(
        "&& at the end",
        "FROM busybox\nRUN echo one && \\\n    echo two &&\n",
        "returned a non-zero code: 2",
        "the command ends with &&",
        2,
        "&&",
    ),
    Mistake(
        "&& twice",
        "FROM busybox\nRUN echo one && \\\n    && echo two\n",
        "returned a non-zero code: 2",
        "nothing stands before this &&",
        2,
        "&&",
    ),
    Mistake(
        "single quotes in JSON",
        "FROM busybox\nRUN ['echo', 'hello']\n",
        "returned a non-zero code: 127",
        "JSON, which wants double quotes",
        2,
        "[",
        meaning="command not found",
    ),
    Mistake(
        "one word in JSON",
        'FROM busybox\nRUN ["echo hello"]\n',
        "",
        'each word of the list stands alone: RUN ["echo", "hello"]',
        2,
        "echo hello",
    ),
    Mistake(
        "another machine's program",
        'FROM busybox\nCOPY --chmod=755 program /\nRUN ["/program"]\n',
        "returned a non-zero code: 1",
        "another kind of machine",
        3,
        "RUN",
        {"program": "\x7fELF\x02\x01\x01" + "\0" * 64},
    ),
    Mistake(
        "no network",
        "FROM busybox\nRUN wget -q http://packages.invalid/a.tar\n",
        "returned a non-zero code: 1",
        "started with --network none",
        2,
        "RUN",
        query="networkmode=none",
    ),
    Mistake(
        "killed",
        "FROM busybox\nRUN sh -c 'kill -9 $$'; exit $?\n",
        "returned a non-zero code: 137",
        "most often the memory was used up",
        2,
        "RUN",
        meaning="killed (signal 9), most often for want of memory",
    ),
    Mistake(
        "out of memory",
        "FROM busybox\nRUN head -c 100m /dev/zero | tail -c 90m > /dev/null\n",
        "returned a non-zero code: 137",
        "this build may use 30 MB of memory",
        2,
        "RUN",
        meaning="killed (signal 9), most often for want of memory",
        query="memory=30000000&memswap=30000000",
    ),
    Mistake(
        "grep finds nothing",
        "FROM busybox\nRUN cat /etc/passwd | grep learner\n",
        "returned a non-zero code: 1",
        "|| true makes that no failure",
        2,
        "grep",
    ),
)

BY_NAME = {mistake.name: mistake for mistake in MISTAKES}


def marked(failure: Mapping[str, Any]) -> str:
    """The text that a failure underlines; all of its first line if nothing is."""
    lines = {line["number"]: str(line["text"]) for line in failure["lines"]}
    if mark := failure.get("mark"):
        return lines[mark["line"]][mark["column"] - 1 :][: mark["width"]]
    return lines[failure["line"]]
