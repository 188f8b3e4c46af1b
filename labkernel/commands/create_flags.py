"""The flags of `docker run` and `docker create`."""

from __future__ import annotations

from labkernel.commands.flags import Flag, cpus, duration, integer, many, size, switch, text

PROCESS: tuple[Flag, ...] = (
    switch("interactive", "i", "Keep standard input open"),
    switch("tty", "t", "Give the container a terminal"),
    many("attach", "a", "Attach only these of stdin, stdout, stderr"),
    many("env", "e", "Set an environment variable, as NAME=VALUE, or NAME to pass on your own"),
    many("env-file", "", "Read environment variables from a file, one a line"),
    text("workdir", "w", "Directory in the container in which the command starts"),
    text("user", "u", "User (and :group) of the command, by name or number"),
    many("group-add", "", "Further groups of the command's user"),
    text("entrypoint", "", "Replace the image's ENTRYPOINT"),
    switch("init", "", "Run a small init as process 1, which passes signals on and reaps children"),
    text("stop-signal", "", "The signal with which `docker stop` asks to end"),
    integer("stop-timeout", "", "Seconds that `docker stop` waits before it kills"),
    many("ulimit", "", "A resource limit, as nofile=1024:2048 (soft:hard)", metavar="ulimit"),
)

IDENTITY: tuple[Flag, ...] = (
    text("name", "", "Name of the container"),
    many("label", "l", "A label, as KEY=VALUE"),
    many("label-file", "", "Read labels from a file, one a line"),
    many("annotation", "", "An annotation for the runtime, as KEY=VALUE", metavar="map"),
    text("cidfile", "", "Write the container's id to this file, which must not exist"),
    text("platform", "", "Platform of the image, such as linux/amd64"),
    text("pull", "", 'When to pull the image: "always", "missing" or "never"', default="missing"),
    switch("quiet", "q", "Do not show the pull"),
    switch("rm", "", "Remove the container, and its unnamed volumes, when it ends"),
    text(
        "restart", "", "When to start it again: no, on-failure[:times], always, unless-stopped", default="no"
    ),
    text("runtime", "", "The OCI runtime to use"),
)

NETWORK: tuple[Flag, ...] = (
    text(
        "network",
        "",
        "Network to join: bridge, none, host, container:NAME or a network's name",
        metavar="network",
    ),
    text("net", "", "Older name of --network", metavar="network"),
    many("network-alias", "", "A further name of the container on its network"),
    text("ip", "", "IPv4 address on its network"),
    text("ip6", "", "IPv6 address on its network"),
    text("mac-address", "", "Hardware address of its interface"),
    text("hostname", "h", "Host name inside the container"),
    text("domainname", "", "NIS domain name inside the container"),
    many("add-host", "", "A line for /etc/hosts, as NAME:ADDRESS"),
    many("dns", "", "Address of a DNS server"),
    many("dns-search", "", "Domain that DNS lookups try"),
    many("dns-option", "", "Option for resolv.conf"),
    many("publish", "p", "Publish a port, as [ADDRESS:][HOSTPORT:]PORT[/udp]; ranges such as 8000-8010 too"),
    switch("publish-all", "P", "Publish every exposed port on a free port of the host"),
    many("expose", "", "Expose a port, or a range of ports, without publishing it"),
    many("link", "", "Link to another container, as NAME[:ALIAS]"),
)

STORAGE: tuple[Flag, ...] = (
    many("volume", "v", "Mount a directory or a volume, as SOURCE:/TARGET[:ro]"),
    many("mount", "", "Mount, as type=bind|volume|tmpfs,source=...,target=...[,readonly]", metavar="mount"),
    many("volumes-from", "", "Mount the volumes of another container"),
    text("volume-driver", "", "Driver of the volumes that -v makes"),
    many("tmpfs", "", "Mount a tmpfs, as /PATH[:options]"),
    switch("read-only", "", "Make the container's root file system read-only"),
    size("shm-size", "", "Size of /dev/shm"),
    many("storage-opt", "", "Option of the storage driver, as KEY=VALUE"),
)

LIMITS: tuple[Flag, ...] = (
    size("memory", "m", "Memory limit, such as 512m"),
    size("memory-reservation", "", "Memory to keep to when the host runs short"),
    size("memory-swap", "", "Memory and swap together; -1 for unlimited swap"),
    integer("memory-swappiness", "", "How readily memory is swapped out, 0 to 100"),
    switch("oom-kill-disable", "", "Do not kill when the memory limit is reached"),
    integer("oom-score-adj", "", "Preference of the host's out-of-memory killer, -1000 to 1000"),
    cpus("cpus", "", "Number of CPUs, such as 1.5"),
    integer("cpu-shares", "c", "Weight against other containers; 1024 is usual"),
    integer("cpu-period", "", "Scheduler period in microseconds"),
    integer("cpu-quota", "", "CPU time for each period in microseconds"),
    text("cpuset-cpus", "", "CPUs to run on, such as 0-2 or 0,3"),
    text("cpuset-mems", "", "Memory nodes to use, such as 0,1"),
    integer("pids-limit", "", "Most processes at once; -1 for no limit"),
    integer("blkio-weight", "", "Weight of block I/O, 10 to 1000"),
    text("cgroup-parent", "", "Control group to put the container below"),
)

SECURITY: tuple[Flag, ...] = (
    many("cap-add", "", "Give a capability, such as NET_ADMIN or ALL"),
    many("cap-drop", "", "Take a capability away"),
    switch("privileged", "", "Give every capability and device"),
    many("security-opt", "", "Security option, such as no-new-privileges or seccomp=unconfined"),
    many("device", "", "A device of the host, as /dev/X[:/dev/Y][:rwm]"),
    many("device-cgroup-rule", "", "A device rule, such as 'c 1:3 rwm'"),
    many("sysctl", "", "A kernel parameter, as KEY=VALUE", metavar="map"),
    text("pid", "", "PID namespace: host or container:NAME"),
    text("ipc", "", "IPC namespace: none, private, shareable, host or container:NAME"),
    text("uts", "", "UTS namespace: host"),
    text("userns", "", "User namespace: host"),
    text("cgroupns", "", "Control group namespace: host or private"),
)

HEALTH: tuple[Flag, ...] = (
    text("health-cmd", "", "Shell command that tells whether the container is well"),
    duration("health-interval", "", "Time between two checks, such as 30s"),
    duration("health-timeout", "", "Most time one check may take"),
    duration("health-start-period", "", "Time at the start in which failures do not count"),
    duration("health-start-interval", "", "Time between two checks during the start period"),
    integer("health-retries", "", "Failures in a row that make it unhealthy"),
    switch("no-healthcheck", "", "Leave out the image's HEALTHCHECK"),
)

LOGGING: tuple[Flag, ...] = (
    text("log-driver", "", "Where the logs go, such as json-file or none"),
    many("log-opt", "", "Option of the log driver, as KEY=VALUE"),
)

CREATE_FLAGS: tuple[Flag, ...] = (
    *PROCESS,
    *IDENTITY,
    *NETWORK,
    *STORAGE,
    *LIMITS,
    *SECURITY,
    *HEALTH,
    *LOGGING,
)

RUN_FLAGS: tuple[Flag, ...] = (
    *CREATE_FLAGS,
    switch("detach", "d", "Run in the background and print the container's id"),
    text("detach-keys", "", "Keys that leave the container running, ctrl-p,ctrl-q by default"),
    switch("sig-proxy", "", "Pass signals on to the container", default=True),
)
