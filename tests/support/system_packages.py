"""Install the Debian packages the tests need and do not find; standard library only, run before pytest.

The tests compare our engine with real peers and use the system's own tools, so none of these is an extra.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SEARCHED = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# program -> (package, what the tests use it for)
PROGRAMS = {
    "dockerd": ("docker.io", "the oracle: same calls, same answers"),
    "runc": ("runc", "dockerd's runtime, and a peer for bundles"),
    "crun": ("crun", "the peer to be as fast as"),
    "buildah": ("buildah", "the builder without a daemon to be faster than"),
    "busybox": ("busybox-static", "the root file system of test images"),
    "newuidmap": ("uidmap", "the engine as an ordinary user"),
    "pasta": ("passt", "the outside world for an ordinary user's engine"),
    "slirp4netns": ("slirp4netns", "the same, the other way"),
    "nft": ("nftables", "looks at the rules the engine made"),
    "ip": ("iproute2", "looks at interfaces; dockerd's own network namespace"),
    "unshare": ("util-linux", "namespaces for peers and throw-away users"),
    "useradd": ("passwd", "throw-away users"),
    "mkfs.ext4": ("e2fsprogs", "a fresh file system under the benchmarks"),
    "skopeo": ("skopeo", "reads and writes the archives of images, as OCI tools do"),
    "docker-compose": ("docker-compose", "a client that nobody here wrote"),
    "docker-registry": ("docker-registry", "the registry to pull from and push to"),
    "setpriv": ("util-linux", "processes without single capabilities"),
    "mmdebstrap": ("mmdebstrap", "the peer that knows what a minimal Debian holds"),
    "curl": ("curl", "reads published ports, as the slides do"),
    "chromium": ("chromium", "the lab in a browser"),
    "Xvfb": ("xvfb", "the virtual screen"),
    "xclock": ("x11-apps", "a program with a window"),
    "xev": ("x11-utils", "says what keys and buttons reach it"),
    "xhost": ("x11-xserver-utils", "changes the screen's access list, as the slides do"),
    "xauth": ("xauth", "reads the screen's cookie"),
}


def missing() -> list[str]:
    """The packages of the programs that are not on this machine, each once."""
    return sorted(
        {package for program, (package, _) in PROGRAMS.items() if not shutil.which(program, path=SEARCHED)}
    )


def main() -> int:
    packages = missing()
    if not packages:
        return 0
    names = " ".join(packages)
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        print(f"labkernel: the tests need these Debian packages: {names}", file=sys.stderr)
        print(f"hint: as root: apt-get install {names}", file=sys.stderr)
        return 1
    print(f"labkernel: installing {names}", flush=True)
    # RUNLEVEL=1 keeps invoke-rc.d from starting a dockerd of the machine's own where there is no systemd.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    log = Path(os.environ.get("TMPDIR", "/tmp"), f"labkernel-apt-{os.getpid()}.log")
    with log.open("wb") as output:
        for command in (
            ["apt-get", "update"],
            ["apt-get", "install", "--yes", "--no-install-recommends", *packages],
        ):
            if subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            ).returncode:
                print(f"labkernel: `{' '.join(command)}` failed; its output is in {log}", file=sys.stderr)
                return 1
    log.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
