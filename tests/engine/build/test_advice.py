"""Advice from the tables alone: outputs as the real tools print them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkernel.engine.build.advice import dockerfile, files, network, packages, shell
from labkernel.engine.build.advice.advise import advise
from labkernel.engine.build.advice.situation import ContextFile, Earlier, Situation

UPDATE = Earlier(2, "RUN", "RUN apt-get update")
UPDATE_AND_REMOVE = Earlier(
    2, "RUN", "RUN apt-get update && apt-get install -y git && rm -rf /var/lib/apt/lists/*"
)
ABSENT = "No such file or directory\n"
NO_PACKAGE = "E: Unable to locate package {}\n"


def run(
    text: str, output: str = "", code: int = 1, base: str = "debian", earlier: tuple[Earlier, ...] = ()
) -> Situation:
    return Situation(
        message=f"The command '/bin/sh -c x' returned a non-zero code: {code}",
        name="RUN",
        text=f"RUN {text}",
        code=code,
        output=output,
        base=base,
        earlier=earlier,
    )


@pytest.mark.parametrize(
    ("situation", "hint", "mark"),
    [
        # --- apt
        (
            run("apt-get install -y curl", NO_PACKAGE.format("curl"), 100),
            "the image has no package lists: RUN apt-get update && apt-get install -y",
            "curl",
        ),
        (
            run("apt-get install -y crul", NO_PACKAGE.format("crul"), 100, earlier=(UPDATE,)),
            "there is no package of the name crul; did you mean curl?",
            "crul",
        ),
        (
            run("apt-get install -y xyzzy", NO_PACKAGE.format("xyzzy"), 100, earlier=(UPDATE,)),
            "the lists are from line 2, perhaps an old layer of the cache",
            "xyzzy",
        ),
        (
            run("apt-get install -y curl", NO_PACKAGE.format("curl"), 100, earlier=(UPDATE_AND_REMOVE,)),
            "the RUN of line 2 removed apt's package lists: begin this one with apt-get update &&",
            "curl",
        ),
        (
            run("apt-get update && apt-get install -y python", NO_PACKAGE.format("python"), 100),
            "did you mean python3?",
            "python",
        ),
        (
            run("apt update && apt install -y xyzzy", NO_PACKAGE.format("xyzzy"), 100),
            "apt-cache search WORD finds names",
            "xyzzy",
        ),
        (
            run("apt-get update && apt-get install git", "Do you want to continue? [Y/n] Abort.\n", 1),
            "apt-get install -y takes yes for an answer",
            "install",
        ),
        (
            run(
                "apt-get install -y git",
                "E: Failed to fetch http://archive.invalid/git.deb  404  Not Found [IP: ::1 80]\n",
                100,
                earlier=(UPDATE,),
            ),
            "the package lists are older than the archive",
            "",
        ),
        (
            run("apt-get install -y git=1.0", "E: Version '1.0' for 'git' was not found\n", 100),
            "apt-cache policy git",
            "git=1.0",
        ),
        (
            run("apt-get install -y tzdata", "Please select the geographic area in which you live.\n", 1),
            "DEBIAN_FRONTEND=noninteractive",
            "",
        ),
        # --- pip, apk, npm
        (
            run(
                "pip install reqeusts",
                "ERROR: Could not find a version that satisfies the requirement reqeusts "
                "(from versions: none)\nERROR: No matching distribution found for reqeusts\n",
            ),
            "there is no Python package reqeusts; did you mean requests?",
            "reqeusts",
        ),
        (
            run(
                "pip install flask==99",
                "ERROR: Could not find a version that satisfies the requirement flask==99 "
                "(from versions: 0.1, 3.0.1, 3.1.0)\nERROR: No matching distribution found for flask==99\n",
            ),
            "there is no such version of flask: the newest it offers is 3.1.0",
            "flask==99",
        ),
        (
            run("pip install sklearn", "ERROR: No matching distribution found for sklearn\n"),
            "did you mean scikit-learn?",
            "sklearn",
        ),
        (
            run(
                "pip install -r requirements.txt",
                "ERROR: Could not open requirements file: [Errno 2] No such file or directory: "
                "'requirements.txt'\n",
            ),
            "COPY requirements.txt . before the RUN that reads it",
            "requirements.txt",
        ),
        (
            run("pip install flask", "error: externally-managed-environment\n"),
            "python3 -m venv /venv",
            "",
        ),
        (
            run(
                "apk add pyhton3",
                "ERROR: unable to select packages:\n  pyhton3 (no such package):\n"
                "    required by: world[pyhton3]\n",
                base="alpine:3.20",
            ),
            "did you mean python3?",
            "pyhton3",
        ),
        (
            run(
                "npm install expres",
                "npm error code E404\nnpm error 404  'expres@*' is not in this registry.\n",
            ),
            "did you mean express?",
            "expres",
        ),
        (
            run(
                "npm install",
                "npm error enoent Could not read package.json: Error: ENOENT: no such file or directory, "
                "open '/package.json'\n",
                254,
            ),
            "COPY package*.json ./ before npm",
            "",
        ),
        # --- the network
        (
            run(
                "apt-get update",
                "W: Failed to fetch http://deb.invalid/x  Temporary failure resolving 'deb.invalid'\n",
                100,
            ),
            "the name deb.invalid could not be resolved",
            "deb.invalid",
        ),
        (
            run("curl https://a.invalid", "curl: (6) Could not resolve host: a.invalid\n", 6),
            "the name a.invalid could not be resolved",
            "a.invalid",
        ),
        (
            run("--network=none curl a", "curl: (6) Could not resolve host: a\n", 6),
            "--network=none: this RUN has no network",
            "--network=none",
        ),
        (run("nc a 1", "nc: connect: Connection refused\n"), "found no way to that address", ""),
        (
            run("curl https://a", "curl: (60) SSL certificate problem: unable to get local issuer\n", 60),
            "install ca-certificates first",
            "",
        ),
        (
            run("curl -f a", "curl: (22) The requested URL returned error: 404\n", 22),
            "has nothing at that address",
            "",
        ),
        (run("dd of=/x", "dd: write error: No space left on device\n"), "the disk is full", ""),
        (run("node x", "FATAL ERROR: JavaScript heap out of memory\n", 134), "ran out of memory", ""),
        (
            run(
                "wget https://a.invalid",
                "Resolving a.invalid (a.invalid)... failed: Name or service not known.\n"
                "wget: unable to resolve host address \u2018a.invalid\u2019\n",
                4,
            ),
            "the name a.invalid could not be resolved",
            "a.invalid",
        ),
        # --- files and modules
        (
            run("ls /x", f"ls: cannot access '/x': {ABSENT}", 2),
            "/x is not in the image",
            "/x",
        ),
        (run("cat /x", f"cat: /x: {ABSENT}"), "/x is not in the image", "/x"),
        (run("cat /x", f"cat: can't open '/x': {ABSENT}"), "/x is not in the image", "/x"),
        (run("cp /x y", f"cp: can't stat '/x': {ABSENT}"), "/x is not in the image", "/x"),
        (run("sh /x", "sh: 0: cannot open /x: No such file\n", 2), "/x is not in the image", "/x"),
        (run("tar xf /x", f"tar: /x: Cannot open: {ABSENT}", 2), "/x is not in", "/x"),
        (run("cd /x && ls", "/bin/sh: 1: cd: can't cd to /x\n", 2), "WORKDIR /x makes it", "/x"),
        (run("cd /x && ls", f"bash: line 1: cd: /x: {ABSENT}", 1), "WORKDIR /x", "/x"),
        (
            run("python3 /x.py", f"python3: can't open file '/x.py': [Errno 2] {ABSENT}", 2),
            "/x.py is not in the image",
            "/x.py",
        ),
        (run("node /x.js", "Error: Cannot find module '/x.js'\n"), "/x.js is not in the image", "/x.js"),
        (run("node x.js", "Error: Cannot find module 'express'\n"), "RUN npm install before", ""),
        (
            run("python3 x.py", "ModuleNotFoundError: No module named 'yaml'\n"),
            "pip install pyyaml",
            "",
        ),
        (
            run(
                "npm ci",
                "The `npm ci` command can only install with an existing package-lock.json",
            ),
            "npm ci wants package-lock.json too",
            "",
        ),
        (
            run("npm install expres", "npm error 404 Not Found - GET https://registry.invalid/expres\n"),
            "did you mean express?",
            "expres",
        ),
        # --- shells, as dash, bash and busybox say it
        (
            run('echo a && \\\nCMD ["sh"]', "/bin/sh: CMD: not found\n", 127),
            "the line above CMD ends with a backslash",
            "CMD",
        ),
        (run("source a", "/bin/sh: 1: source: not found\n", 127), "a dot: . FILE", "source"),
        (run("curl a", "/bin/sh: 1: curl: not found\n", 127), "apt-get install -y curl", "curl"),
        (
            run("curl a", "/bin/sh: curl: not found\n", 127, base="python:3-alpine"),
            "apk add --no-cache curl",
            "curl",
        ),
        (
            run("apt-get update", "/bin/sh: apt-get: not found\n", 127, base="alpine"),
            "alpine has apk add --no-cache",
            "apt-get",
        ),
        (
            run("gti clone", "/bin/bash: line 1: gti: command not found\n", 127),
            "did you mean git?",
            "gti",
        ),
        (run("[[ a ]]", "/bin/sh: 1: [[: not found\n", 127), "[[ ... ]] is of bash", "[["),
        (run("echo ${a//b/c}", "/bin/sh: 1: Bad substitution\n", 2), 'SHELL ["/bin/bash", "-c"]', ""),
        (
            run("echo a &&", "/bin/sh: 1: Syntax error: end of file unexpected\n", 2),
            "the command ends with &&",
            "&&",
        ),
        (
            run('echo "a', "/bin/sh: 1: Syntax error: Unterminated quoted string\n", 2),
            "a quote, a bracket",
            "",
        ),
        (
            run("/app/run", "/bin/sh: 1: /app/run: Permission denied\n", 126),
            "RUN chmod +x /app/run before",
            "/app/run",
        ),
        (
            run("cp a b", "cp: cannot stat 'a': No such file or directory\n"),
            "a is not in the image at this line",
            "a",
        ),
        (run("/x", "exec /x: exec format error\n", 1), "another kind of machine", ""),
        (run("mkdir /a/b", "mkdir: can't create directory '/a/b'\n"), "mkdir -p", ""),
        (run("x", "", 137), "most often the memory was used up", ""),
        (run("x", "", 139), "the program itself is faulty", ""),
        (run("a | b", "", 141), "a command of a pipe", ""),
        (run("x", "odd\n", 127), "a command was not found", ""),
        (run("x", "", 126), "cannot be executed", ""),
    ],
    ids=lambda value: value.text[:40] if isinstance(value, Situation) else "",
)
def test_advice(situation: Situation, hint: str, mark: str) -> None:
    said = advise(situation)
    assert said is not None
    assert hint in said.text
    assert said.mark == mark


@pytest.mark.parametrize(
    "situation",
    [
        run("make", "make: *** No rule to make target 'all'.  Stop.\n", 2),
        run("false"),
        run("grep a b", "grep: odd\n", 2),
        Situation("No such image: x:latest", name="FROM", text="FROM x"),
    ],
)
def test_nothing_is_said_where_nothing_is_known(situation: Situation) -> None:
    assert advise(situation) is None


def test_a_windows_script_is_known_by_its_head() -> None:
    def context_file(name: str) -> ContextFile | None:
        return ContextFile("bin/run.sh", 0o755, b"#!/bin/bash\r\nset -e\r\n") if name == "run.sh" else None

    situation = Situation(
        "x",
        name="RUN",
        text="RUN /app/run.sh --all",
        code=127,
        output="/bin/sh: 1: /app/run.sh: not found\n",
        context_file=context_file,
    )
    said = advise(situation)
    assert said is not None
    assert said.text.startswith("bin/run.sh has Windows line ends (CRLF)")
    assert said.mark == "/app/run.sh"


def test_an_interpreter_that_is_not_there() -> None:
    said = advise(
        Situation(
            message="The command '/bin/sh -c x' returned a non-zero code: 127",
            name="RUN",
            text="RUN /app/run.sh",
            code=127,
            output="/bin/sh: /app/run.sh: not found\n",
            context_file=lambda name: ContextFile("bin/run.sh", 0o755, b"#!/bin/bash\necho\n"),
        )
    )
    assert said is not None
    assert said.text.startswith("bin/run.sh begins with #!/bin/bash: is that in the image?")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM busybox # mine", "FROM requires either one or three arguments"),
        ("EXPOSE 80 # web", "Invalid containerPort: #"),
    ],
)
def test_a_comment_behind_an_instruction(text: str, message: str) -> None:
    said = advise(Situation(message=message, name=text.split()[0], text=text))
    assert said is not None
    assert (said.text.partition(":")[0], said.mark) == ("a comment has a line of its own", "#")


PIECES = st.sampled_from(
    [rule.pattern for table in (packages, network, shell, files, dockerfile) for rule in table.RULES]
    + ["apt-get", " && ", "\n", "'", ": not found", "E: ", "$X", "[", "RUN ", "cd /x", "127", "stat a:"]
)
TEXT = st.lists(PIECES | st.text(max_size=5), max_size=8).map("".join)


@given(TEXT, TEXT, TEXT, st.none() | st.sampled_from([1, 2, 100, 126, 127, 137]), TEXT)
def test_advice_never_fails(message: str, text: str, output: str, code: int | None, earlier: str) -> None:
    before = (Earlier(1, "RUN", f"RUN {earlier}"), Earlier(2, "USER", f"USER {earlier}"))
    advise(
        Situation(message, "", "RUN", f"RUN {text}", code, output, "debian", "", before, ["X"], 3, earlier)
    )


def test_much_output_is_read_quickly() -> None:
    """A pattern that tries everything in every way would not come to an end here."""
    text = "apt-get -q " * 1500 + "&& a " * 1000 + "cd x " * 200
    advise(run(text, "a: " * 2500, 1, earlier=(Earlier(1, "RUN", "RUN " + text),)))
