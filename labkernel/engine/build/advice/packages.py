"""Advice about package managers: apt, apk, pip, npm."""

from __future__ import annotations

import re

from labkernel.engine.build.advice.situation import Advice, Rule, Situation, near

#: Names that learners ask for most, to find what a slip of the keyboard meant.
SYSTEM_PACKAGES = (
    *("apache2", "bash", "build-essential", "bzip2", "ca-certificates", "cmake", "cron", "curl"),
    *("default-jdk", "default-jre", "dnsutils", "ffmpeg", "fontconfig", "g++", "gcc", "gettext", "git"),
    *("gnupg", "golang", "htop", "imagemagick", "iproute2", "iputils-ping", "jq", "less", "libc6-dev"),
    *("libcurl4-openssl-dev", "libffi-dev", "libpq-dev", "libssl-dev", "libxml2-dev", "locales"),
    *("lsb-release", "make", "mariadb-client", "mariadb-server", "memcached", "musl-dev", "nano"),
    *("netcat-openbsd", "net-tools", "nginx", "nodejs", "npm", "openjdk-17-jdk", "openssh-client"),
    *("openssh-server", "openssl", "perl", "php", "php-fpm", "pkg-config", "postgresql"),
    *("postgresql-client", "procps", "python3", "python3-dev", "python3-pip", "python3-venv", "redis-server"),
    *("rsync", "ruby", "rustc", "sqlite3", "ssh", "sudo", "supervisor", "tar", "tini", "tree", "tzdata"),
    *("unzip", "vim", "wget", "xz-utils", "zip", "zlib1g-dev", "zsh"),
)
PYTHON_PACKAGES = (
    *("aiohttp", "beautifulsoup4", "black", "boto3", "celery", "click", "cryptography", "django"),
    *("djangorestframework", "fastapi", "flask", "flask-sqlalchemy", "gunicorn", "httpx", "ipython"),
    *("jinja2", "jupyter", "jupyterlab", "keras", "lxml", "matplotlib", "mypy", "networkx", "notebook"),
    *("numpy", "opencv-python", "openpyxl", "pandas", "pillow", "plotly", "poetry", "psycopg2"),
    *("psycopg2-binary", "pydantic", "pymongo", "pymysql", "pytest", "python-dateutil", "python-dotenv"),
    *("pyyaml", "redis", "requests", "scikit-learn", "scipy", "seaborn", "selenium", "setuptools"),
    *("sqlalchemy", "streamlit", "tensorflow", "tornado", "torch", "tqdm", "transformers", "urllib3"),
    *("uvicorn", "virtualenv", "websockets", "werkzeug", "wheel"),
)
NODE_PACKAGES = (
    *("axios", "body-parser", "chalk", "commander", "cors", "dotenv", "eslint", "express", "fastify"),
    *("jest", "lodash", "mocha", "moment", "mongodb", "mongoose", "next", "nodemon", "passport", "pg"),
    *("prettier", "react", "react-dom", "redux", "socket.io", "svelte", "typescript", "uuid", "vite", "vue"),
    *("webpack", "winston", "ws", "yarn"),
)
#: What another distribution, or an import statement, calls it.
_OTHER_NAMES = {
    "python": "python3",
    "pip": "python3-pip",
    "ping": "iputils-ping",
    "netcat": "netcat-openbsd",
    "ifconfig": "net-tools",
    "ip": "iproute2",
    "ps": "procps",
    "vi": "vim",
    "java": "default-jre",
    "node": "nodejs",
    "mysql-server": "mariadb-server",
    "redis": "redis-server",
    "nslookup": "dnsutils",
    "dig": "dnsutils",
}
_OTHER_PYTHON_NAMES = {
    "cv2": "opencv-python",
    "sklearn": "scikit-learn",
    "bs4": "beautifulsoup4",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "dotenv": "python-dotenv",
    "dateutil": "python-dateutil",
}

_UPDATE = r"\bapt(-get)?\s+(-\S+\s+)*update\b"
_LISTS_REMOVED = r"\brm\s+-\S*r\S*\s+(\S+\s+)*/var/lib/apt/lists"


def _apt_unknown(situation: Situation, found: re.Match[str]) -> Advice:
    name = found[1].strip("'")
    other = _OTHER_NAMES.get(name) or near(name, SYSTEM_PACKAGES)
    meant = f"; did you mean {other}?" if other else ""
    if not re.search(_UPDATE, situation.text):
        removed = situation.earlier_run(_LISTS_REMOVED)
        updated = situation.earlier_run(_UPDATE)
        if removed:
            return Advice(
                f"the RUN of line {removed.line} removed apt's package lists: begin this one with "
                f"apt-get update &&{meant}",
                name,
            )
        if not updated:
            return Advice(
                "the image has no package lists: RUN apt-get update && apt-get install -y ..., in one RUN"
                + meant,
                name,
            )
        if not other:
            meant = (
                f"; the lists are from line {updated.line}, perhaps an old layer of the cache: "
                "write apt-get update && in the RUN that installs"
            )
    if not meant:
        meant = "; where the lists are, apt-cache search WORD finds names"
    return Advice(f"there is no package of the name {name}{meant}", name)


def _apt_version(situation: Situation, found: re.Match[str]) -> Advice:
    return Advice(
        f"this release has {found[2]} in another version: apt-cache policy {found[2]} lists them; without "
        f"={found[1]} it is the one there is",
        f"{found[2]}={found[1]}",
    )


def _pip_unknown(situation: Situation, found: re.Match[str]) -> Advice:
    name = re.split(r"[=<>!~\[;]", found[1])[0]
    versions = re.search(r"from versions: ([^)\n]+)\)", situation.output)
    if versions and versions[1].strip() != "none":
        last = versions[1].split(",")[-1].strip()
        return Advice(f"there is no such version of {name}: the newest it offers is {last}", found[1])
    other = _OTHER_PYTHON_NAMES.get(name) or near(name, PYTHON_PACKAGES)
    if other:
        return Advice(f"there is no Python package {name}; did you mean {other}?", name)
    return Advice(
        f"pip finds no package {name}: is the name right, is there a release for this Python, "
        "and is the package index reachable?",
        name,
    )


def _apk_unknown(situation: Situation, found: re.Match[str]) -> Advice:
    name = found[1]
    other = near(name, SYSTEM_PACKAGES)
    more = f"did you mean {other}?" if other else "apk search WORD finds names"
    return Advice(f"there is no package of the name {name}; {more}", name)


def _npm_unknown(situation: Situation, found: re.Match[str]) -> Advice:
    name = found[1]
    other = near(name, NODE_PACKAGES)
    return Advice(
        f"the registry of npm has no package {name}" + (f"; did you mean {other}?" if other else ""), name
    )


def _absent_requirements(situation: Situation, found: re.Match[str]) -> Advice:
    return Advice(
        f"{found[1]} is not in the image at this line: COPY {found[1]} . before the RUN that reads it",
        found[1],
    )


RULES = (
    Rule("output", r"^E: Unable to locate package (\S+)", _apt_unknown),
    Rule("output", r"^E: Package (\S+) has no installation candidate", _apt_unknown),
    Rule("output", r"^E: Version '([^']+)' for '([^']+)' was not found", _apt_version),
    Rule(
        "output",
        r"Do you want to continue\? \[Y/n\]\s*Abort|^Abort\.\s*\Z",
        lambda situation, found: Advice(
            "nobody can answer a question during a build: apt-get install -y takes yes for an answer",
            "install",
        ),
    ),
    Rule(
        "output",
        r"(404\s+Not Found|Failed to fetch .*\b404\b)",
        lambda situation, found: (
            "the package lists are older than the archive: write apt-get update && in the same RUN as the "
            "install, so that both are done anew together"
            if re.search(r"\bapt(-get)?\b", situation.text)
            else None
        ),
    ),
    Rule(
        "output",
        r"Please select the geographic area|Geographic area:|Please select the city",
        "a package asks a question that nobody can answer during a build: "
        "RUN DEBIAN_FRONTEND=noninteractive apt-get install -y ...",
    ),
    Rule("output", r"No matching distribution found for ([^\s(]+)", _pip_unknown),
    Rule("output", r"Could not find a version that satisfies the requirement ([^\s(]+)", _pip_unknown),
    Rule("output", r"Could not open requirements file: .*'([^']+)'", _absent_requirements),
    Rule(
        "output",
        r"error: externally-managed-environment",
        "this Python belongs to the distribution: python3 -m venv /venv && /venv/bin/pip install ..., or "
        "FROM an image of python",
    ),
    Rule("output", r"^\s*(\S+) \(no such package\)", _apk_unknown),
    Rule("output", r"npm (?:ERR!|error) 404\s+'?((?:@[^/\s]+/)?[^@\s']+)@\S* is not in", _npm_unknown),
    Rule("output", r"npm (?:ERR!|error) 404 Not Found - GET \S+/([^/\s]+)", _npm_unknown),
    Rule(
        "output",
        r"can only install with an existing package-lock\.json",
        "npm ci wants package-lock.json too: COPY package*.json ./ before it, or npm install does without",
    ),
    Rule(
        "output",
        r"ModuleNotFoundError: No module named '([\w]+)",
        lambda situation, found: (
            f"Python has no module {found[1]} in this image: an earlier RUN may install it, "
            f"pip install {_OTHER_PYTHON_NAMES.get(found[1], found[1])}"
        ),
    ),
    Rule(
        "output",
        r"Cannot find module '([^./'][^']*)'",
        lambda situation, found: (
            f"node finds no module {found[1]} in this image: COPY package*.json ./ and RUN npm install before"
        ),
    ),
    Rule(
        "output",
        r"npm (?:ERR!|error) .*ENOENT.*package\.json",
        "package.json is not in this folder of the image: WORKDIR /app and COPY package*.json ./ before npm",
    ),
)
