"""Advice about the commands of RUN: what is not found, what may not be executed, what the shell misreads."""

from __future__ import annotations

import posixpath
import re

from labkernel.engine.build.advice.packages import SYSTEM_PACKAGES
from labkernel.engine.build.advice.situation import Advice, Rule, Situation, near
from labkernel.engine.build.words import INSTRUCTIONS

COMMANDS = (
    *("addgroup", "adduser", "apk", "apt-get", "awk", "bash", "bundle", "bzip2", "cargo", "cat", "chgrp"),
    *("chmod", "chown", "cmake", "composer", "cp", "curl", "cut", "date", "dnf", "dpkg", "echo", "env"),
    *("export", "find", "gcc", "git", "go", "grep", "groupadd", "gunzip", "gzip", "head", "install", "java"),
    *("javac", "ln", "ls", "make", "mkdir", "mv", "node", "npm", "npx", "openssl", "perl", "php", "pip"),
    *("pip3", "printf", "python", "python3", "rm", "rmdir", "rsync", "ruby", "sed", "sh", "sleep", "sort"),
    *("tail", "tar", "tee", "test", "touch", "unzip", "useradd", "wget", "xargs", "yarn", "yum", "zip"),
)
_PACKAGE_MANAGERS = {
    "apt-get": "debian and ubuntu",
    "apt": "debian and ubuntu",
    "apk": "alpine",
    "dnf": "fedora",
    "yum": "centos",
    "microdnf": "the small images of Red Hat",
}
_PYTHON = {"python": "python3", "pip": "python3 -m pip", "pip3": "python3 -m pip"}
_NOT_FOUND = (
    r"^(?:\S*(?:sh|env): )?(?:line \d+: |\d+: )?[\u2018'`]?([^\s:\u2018\u2019'`]+)[\u2019'`]?: "
    r"(?:command not found|not found|inaccessible or not found)\r?$"
)


def _not_found(situation: Situation, found: re.Match[str]) -> Advice | None:
    word = found[1]
    if situation.code != 127:
        return None
    if "\r" in situation.output and (script := _windows_script(situation)):
        return script
    if word in INSTRUCTIONS:
        return Advice(f"the line above {word} ends with a backslash, so {word} became a part of RUN", word)
    if word == "sudo":
        return Advice("a build's steps run as root already: leave sudo out", "sudo")
    if re.match(r"RUN\s*\[\s*'", situation.text):
        return Advice('the list of words is JSON, which wants double quotes: RUN ["...", "..."]', "[")
    if word in _PACKAGE_MANAGERS:
        has = _own_manager(situation.base)
        instead = f"; {_name(situation.base)} has {has}" if has else f"; FROM {_first_image(word)} has it"
        return Advice(f"{word} is the package manager of {_PACKAGE_MANAGERS[word]}{instead}", word)
    if word == "source":
        return Advice("sh has no source; its word for it is a dot: . FILE", "source")
    if word == "[[":
        return Advice('[[ ... ]] is of bash: write [ ... ], or SHELL ["/bin/bash", "-c"] first', "[[")
    if "/" in word:
        return _path_not_found(situation, word)
    if word == "bash":
        return Advice("this image has no bash: use sh, or install bash first", word)
    if word in _PYTHON:
        return Advice(
            f"this image has no {word}: where Python is installed, {_PYTHON[word]} is it; "
            "otherwise install it first, or FROM an image of python",
            word,
        )
    if other := near(word, COMMANDS):
        return Advice(f"there is no command {word}; did you mean {other}?", word)
    package = word if word in SYSTEM_PACKAGES else None
    how = _install(situation.base, package or "...")
    return Advice(f"{word} is not in this image: an earlier RUN may install it{how}", word)


def _path_not_found(situation: Situation, path: str) -> Advice | None:
    return (
        _windows_script(situation)
        or _after_cd(situation)
        or _interpreter(situation, path)
        or Advice(
            f"there is no {path} in the image at this line (or not the interpreter that its first line "
            "names): RUN ls -l shows what is there",
            path,
        )
    )


def _interpreter(situation: Situation, path: str) -> Advice | None:
    """The shell says that the script is not there when its interpreter is not."""
    file = situation.context_file(posixpath.basename(path))
    found = re.match(rb"#!\s*(\S+)", file.head) if file else None
    if file is None or found is None or found[1] == b"/bin/sh":
        return None
    program = found[1].decode(errors="replace")
    return Advice(
        f"{file.path} begins with #!{program}: is that in the image? "
        "If not, install it, or let it begin with #!/bin/sh",
        path,
    )


def _name(base: str) -> str:
    return posixpath.basename(base).partition(":")[0].partition("@")[0] or "the image"


def _own_manager(base: str) -> str | None:
    name = f"{_name(base)}:{base.rpartition(':')[2]}"
    if "alpine" in name:
        return "apk add --no-cache"
    if re.match(r"(debian|ubuntu|golang|python|node|ruby|php|postgres|nginx)\b", name):
        return "apt-get"
    if re.match(r"(fedora|rockylinux|almalinux|centos|ubi)", name):
        return "dnf"
    return None


def _first_image(manager: str) -> str:
    return {"apk": "alpine", "dnf": "fedora", "yum": "centos"}.get(manager, "debian")


def _install(base: str, package: str) -> str:
    manager = _own_manager(base)
    if manager == "apt-get":
        return f": apt-get update && apt-get install -y {package}"
    return f": {manager} {package}" if manager and package != "..." else ""


# --- scripts


def _windows_script(situation: Situation) -> Advice | None:
    """A script of the context whose lines end as on Windows: its interpreter is looked for with a \\r."""
    for word in re.findall(r"[\w.+@/-]+", situation.command):
        file = situation.context_file(posixpath.basename(word))
        if file and file.head.startswith(b"#!") and file.head.partition(b"\n")[0].endswith(b"\r"):
            return Advice(
                f"{file.path} has Windows line ends (CRLF), so its interpreter is not found: save it with "
                f"LF, or RUN sed -i 's/\\r$//' {word} before",
                word,
            )
    return None


def _denied(situation: Situation, found: re.Match[str]) -> Advice | None:
    path = found[1]
    if situation.code == 126:
        return Advice(
            f"{path} is not marked as a program: RUN chmod +x {path} before, or COPY --chmod=755", path
        )
    return None


def _not_root(situation: Situation, found: re.Match[str]) -> Advice | None:
    user = situation.user
    if user is None or situation.code == 126:
        return None
    who = user.text.split()[-1]
    return Advice(
        f"since line {user.line} (USER {who}) steps run as {who}: do this before that line, or write "
        "USER root above it and USER again below"
    )


def _after_cd(situation: Situation, found: re.Match[str] | None = None) -> Advice | None:
    changed = situation.earlier_run(r"(?i)\ARUN\s(?:[^&|;]*&&)*\s*cd\s+\S+\s*\Z")
    if changed is None:
        return None
    where = changed.text.split()[-1]
    return Advice(
        f"every RUN begins in the WORKDIR again: the cd of line {changed.line} ended with its own RUN. "
        f"WORKDIR {where} is kept for what follows"
    )


def _after_export(situation: Situation, found: re.Match[str]) -> Advice | None:
    """A variable that an earlier RUN exported, used in this one."""
    for step in situation.earlier:
        exported = re.search(r"\bexport\s+([A-Za-z_]\w*)=", step.text) if step.name == "RUN" else None
        if exported and re.search(rf"\${{?{exported[1]}\b", situation.text):
            return Advice(
                f"the export of line {step.line} ended with its own RUN: ENV {exported[1]}=... is kept for "
                "what follows",
                exported[1],
            )
    return None


def undeclared_argument(situation: Situation, found: re.Match[str]) -> Advice | None:
    """An ARG from before FROM, used inside a stage that does not declare it again."""
    declared = " ".join(step.text for step in situation.earlier if step.name in ("ARG", "ENV"))
    for name in situation.globals:
        is_used = re.search(rf"\${{?{name}\b", situation.text) and f"{name}=" not in situation.text
        if is_used and not re.search(rf"\b{name}\b", declared):
            return Advice(
                f"ARG {name} stands before FROM, where only FROM lines see it: write ARG {name} once more "
                "below FROM",
                name,
            )
    return None


# --- what the shell cannot read


def _ends_early(situation: Situation, found: re.Match[str]) -> Advice:
    last = re.search(r"(&&|\|\||\|)\s*\Z", situation.text)
    if last:
        return Advice(
            f"the command ends with {last[1]}: what should follow is missing, or the {last[1]} is too many",
            last[1],
        )
    return Advice("the command is not complete: a quote, a bracket, `done` or `fi` is missing")


def _two_operators(situation: Situation, found: re.Match[str]) -> Advice:
    word = next((group for group in found.groups() if group), "&&")
    return Advice(f"nothing stands before this {word}: is one too many, or did a line get lost?", word)


_BASH = 'that is of bash, and RUN uses sh: SHELL ["/bin/bash", "-c"] above it, or write it for sh'


def _silent_grep(situation: Situation, found: re.Match[str]) -> Advice | None:
    if situation.output.strip() or situation.code != 1:
        return None
    return Advice("grep ends with 1 when it finds nothing: || true makes that no failure", "grep")


RULES = (
    Rule("text", r"\$", undeclared_argument),
    Rule("text", r"\$", _after_export),
    Rule("output", r"\b(sudo): (?:command )?not found", _not_found),
    Rule(
        "output",
        r"are you root\?|[Pp]ermission denied|Operation not permitted|must be (?:run as )?root"
        r"|Read-only file system|EACCES",
        _not_root,
    ),
    Rule("output", r"(?:^|: )(?:line \d+: |\d+: )?([^\s:]+): Permission denied", _denied),
    Rule(
        "output",
        r"(?i)exec format error|\x7fELF",
        "the program is for another kind of machine (see uname -m), or a script without #! in its first line",
    ),
    Rule("output", r"Illegal option -o pipefail|Bad substitution|bad substitution", _BASH),
    Rule("output", r'[Ss]yntax error: "\(" unexpected', _BASH),
    Rule(
        "output",
        r"[Ss]yntax error: (?:end of file unexpected|unexpected end of file)|unexpected end of file"
        r"|[Uu]nterminated quoted string|unexpected EOF while|missing '}'",
        _ends_early,
    ),
    Rule(
        "output",
        r"[Ss]yntax error: \"(&&|\|\||\||;)\" unexpected|[Ss]yntax error: unexpected \"(&&|\|\||\||;)\""
        r"|near unexpected token `(&&|\|\||\||;)'",
        _two_operators,
    ),
    Rule("output", _NOT_FOUND, _not_found),
    Rule("output", r"[Nn]o such file or directory|can't open|[Nn]ot a directory|can't cd to", _after_cd),
    Rule("output", r"No such file or directory|can't open", lambda s, found: _windows_script(s)),
    Rule(
        "output",
        r"can't create directory|cannot create directory",
        "mkdir -p makes the folders above as well, and says nothing of one that is there",
    ),
    Rule("text", r"\bgrep\b[^|&;]*\Z", _silent_grep),
)

LAST_RULES = (
    Rule(
        "message",
        r"non-zero code: 126$",
        "the command was found but cannot be executed: is it a program for this machine, with mode +x?",
    ),
    Rule(
        "message",
        r"non-zero code: 127$",
        "a command was not found in the image: an earlier RUN may have to install it",
    ),
    Rule(
        "message",
        r"non-zero code: 141$",
        "a command of a pipe ended before it had read all of its input, and pipefail makes that a failure",
    ),
)
