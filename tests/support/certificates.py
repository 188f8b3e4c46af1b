"""Certificates for TLS, made by openssl, in the files that Docker's clients look for."""

from __future__ import annotations

import subprocess
from pathlib import Path

_EXTENSIONS = "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n"


def make_authority(directory: Path) -> Path:
    """A directory with an authority: ca.pem, ca-key.pem."""
    directory.mkdir()
    _openssl(
        directory,
        *"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(),
        *"-subj /CN=authority -keyout ca-key.pem -out ca.pem".split(),
    )
    return directory


def make_certificate(authority: Path, directory: Path) -> Path:
    """A directory as DOCKER_CERT_PATH names it: ca.pem, cert.pem, key.pem; good for servers and clients."""
    directory.mkdir()
    (directory / "ca.pem").write_bytes((authority / "ca.pem").read_bytes())
    (directory / "extensions").write_text(_EXTENSIONS)
    _openssl(
        directory,
        *"req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost".split(),
        *"-keyout key.pem -out request.pem".split(),
    )
    _openssl(
        directory,
        *"x509 -req -in request.pem -days 2 -CAcreateserial -extfile extensions -out cert.pem".split(),
        *("-CA", str(authority / "ca.pem"), "-CAkey", str(authority / "ca-key.pem")),
    )
    return directory


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=directory, check=True, capture_output=True)
