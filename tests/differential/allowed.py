"""The differences between Docker's answers and ours that are meant, each with its reason.

`fields` are patterns over `scenario/step: path`. Nothing else may differ. Docker is Debian's 20.10; where
newer ones answer otherwise we do as they do.
"""

from __future__ import annotations

from tests.differential.comparison import ABSENT, Allowed

_NEWER = "newer Docker has it"
_DROPPED = "newer Docker no longer has it"
_OWN = "the parts that an engine is made of, and where it keeps them, are its own"
_WORDS = "what a parser says of a malformed value: every language has its own words"
_AS_NEWER = "newer Docker answers as we do"
_EARLY = "an error before the stream begins is an error like all others; newer Docker agrees"
_SOONER = "refused when it is created, not when it starts"
_UNLINKED = "nothing links to a container that is no more; Docker forgets it with its next start"
_NO_RUNTIME = "no runtime below to be quoted"
_REFUSED = "refused at once: a container of it could not be of use"

ALLOWED = [
    # Who answers, and what it is made of.
    Allowed("*: headers.Server", "value", "the name and version of the server that answers"),
    Allowed(
        "*: headers.Api-Version", "value", "the newest version spoken; the calls use one that both speak"
    ),
    Allowed("system.version/*: body.*", "any", "names, versions and dates of the program and of its parts"),
    Allowed("system.info/info: body.Runtimes.*", "any", _OWN),
    Allowed("system.info/info: body.*Commit", "absent", _OWN),
    Allowed("*Runtime", "any", _OWN),
    Allowed("*GraphDriver.Data.*", "any", _OWN),
    Allowed("*: body.DockerVersion", "any", "which program made the image"),
    Allowed("*SandboxKey", "any", _OWN),
    Allowed("*bridge.name", "value", _OWN),
    Allowed(
        "*: body.*Path", "pair", "made when the container is created, not when it starts", ("", "<root>/*")
    ),
    Allowed("*Networks.bridge.NetworkID", "pair", "known when the container is created", ("", "<id>")),
    Allowed("others.given_to_containers/init: body*", "pair", _OWN, ("docker-init\n", "*")),
    Allowed(
        "create.everything_given/create: body.Warnings*", "added", "what is not done is said in a warning"
    ),
    # What the API and the defaults have gained and lost since.
    Allowed("system.ping/*: headers.Swarm", "added", _NEWER),
    Allowed("system.ping/*: headers.Builder-Version", "added", _NEWER),
    Allowed("*MaskedPaths*", "any", "newer Docker hides more"),
    Allowed("*IPAM.Config*.Gateway", "added", _NEWER),
    Allowed("*PortBindings", "pair", _AS_NEWER, (None, {})),
    Allowed("*RepoDigests", "pair", _AS_NEWER, (None, [])),
    Allowed("*SandboxID", "pair", "newer Docker forgets it too when the container ends", ("<id>", "")),
    Allowed("*LastTagTime", "value", "newer Docker notes a loaded image's name too"),
    Allowed("system.info/info: body.KernelMemory*", "absent", _DROPPED),
    Allowed("*VirtualSize", "absent", _DROPPED),
    Allowed("*: body.Container", "any", _DROPPED),
    Allowed("*: body.ContainerConfig.*", "any", _DROPPED),
    Allowed("*: body.Error", "absent", "newer Docker leaves it out when there is none"),
    Allowed("*: headers.Content-Type", "pair", _NEWER, (ABSENT, "application/vnd.docker.raw-stream")),
    Allowed("life.statistics/*: body.memory_stats.*", "added", "the kernel has more figures"),
    Allowed("life.statistics/*: body.blkio_stats.*", "any", "null or empty: there is no such figure"),
    Allowed("streams.exec_in/missing: exit code: *", "pair", _AS_NEWER, (126, 127)),
    Allowed("others.given_to_containers/dns: body*", "value", "newer Docker writes the lines in our order"),
    Allowed("networks.internal/way out*", "any", "nothing leads out of it; newer Docker agrees"),
    Allowed(
        "networks.internal/networks: inner.Gateway", "any", "nothing leads out of it; newer Docker agrees"
    ),
    Allowed("networks.connected_while_running/hosts after*", "any", "Docker leaves the old address there"),
    Allowed(
        "networks.hardware_addresses/config made: *",
        "value",
        "shown before it is used too",
    ),
    Allowed("networks.hardware_addresses/* ended: *", "value", "used again; Docker 20.10 forgets it"),
    Allowed("networks.refused/connect to nothing*", "any", "there is no such network; newer Docker agrees"),
    Allowed(
        "networks.host_gateway/by Docker Desktop's name: *",
        "any",
        "host.docker.internal is in every container on a bridge, as Docker Desktop has it",
    ),
    Allowed("networks.*/disconnect again: status", "pair", "the present state forbids it", (500, 403)),
    Allowed("networks.refused/two at once: body.message", "any", "Docker names them in any order"),
    Allowed("volumes.memory/in use: body.message", "any", "Docker names them in any order"),
    # Requests that are wrong.
    Allowed("*hint", "added", "our errors say what to do next"),
    Allowed("*failure", "added", "our builds say where in the Dockerfile they failed"),
    Allowed("*: status", "pair", "the caller's mistake is 400; newer Docker agrees", (500, 400)),
    Allowed("*: status", "pair", "what does not exist is 404; newer Docker agrees", (500, 404)),
    Allowed("*: status", "pair", "the present state forbids it: 409; newer Docker agrees", (500, 409)),
    Allowed("*: body.message", "pair", "our oldest and newest version", ("client version * is too *",) * 2),
    Allowed("system.versions_out_of_range/*: *", "any", "plain text there; an error as all others here"),
    Allowed("system.unknown_urls/*: headers.*", "pair", "we say who we are in every answer", (ABSENT, "*")),
    Allowed("streams.*: [[]1[]].*", "any", "we say who we are in the head of a hijacked stream"),
    Allowed("streams.attach/without hijacking: headers.*", "added", "we say who we are in every answer"),
    Allowed("*: body*", "pair", _WORDS, ("strconv.*", "*")),
    Allowed("*: body*", "pair", _WORDS, ("*JSON input", "*")),
    Allowed("*: body*", "pair", _WORDS, ("*EOF", "invalid *")),
    Allowed("*: body*", "pair", _WORDS, ("json: cannot unmarshal *", "*")),
    Allowed("*: body*", "pair", _WORDS, ("invalid character * looking for beginning of value", "*")),
    Allowed("*: body*", "pair", _WORDS, ("*archive/tar: invalid tar header", "invalid tar archive: *")),
    Allowed("create.bodies_that_are_no_json/not UTF-8: body.message", "value", _WORDS),
    Allowed("create.bodies_that_are_no_json/two objects: *", "any", "what follows the object is not ignored"),
    Allowed("create.bodies_that_are_no_json/type '': *", "any", "a body of no type is taken as JSON"),
    Allowed("*: body*", "pair", _AS_NEWER, ("Content-Type specified *", "unsupported Content-Type header *")),
    Allowed(
        "*: body*",
        "pair",
        "names the part, as newer Docker does",
        ("*name must be lowercase", "*name (*) must be lowercase*"),
    ),
    Allowed("*: body*", "pair", _AS_NEWER, ("no such image: *: *", "*")),
    Allowed("*: body*", "pair", _AS_NEWER, ("No such image: *", "reference does not exist*")),
    Allowed("*: body*", "pair", "says which", ("invalid tag format", "invalid tag format: *")),
    Allowed("*: body*", "pair", "in words", ("bad parameter: pathcannot be empty", "*")),
    Allowed("life.unknown_container/attach: *", "any", _EARLY),
    Allowed("streams.detach_keys/keys that are none: *", "any", _EARLY),
    Allowed("streams.attach_refused/paused: *", "any", _EARLY),
    Allowed("streams.exec_in/start again: *", "any", _EARLY),
    Allowed(
        "images.loaded/*: body*",
        "pair",
        "says what is missing",
        ("*/repositories: no such file*", "invalid image archive: *"),
    ),
    Allowed("streams.exec_refused/container ended: start: *", "any", "the reason: its container has ended"),
    Allowed("streams.logs/stdout=1&tail=many: *", "any", "a number that is none is not taken as all"),
    Allowed(
        "create.refused_host_configs/*ulimit: start: body.message", "value", "no runtime below to be quoted"
    ),
    Allowed("create.refused_host_configs/port that is *: body.message", "value", "the protocol is named too"),
    Allowed("life.listing/by exposed port that is none: *", "any", "no container has such a port"),
    Allowed("life.waiting/unknown condition: *", "any", _AS_NEWER),
    Allowed("life.updating_field_by_field/*: body.message", "pair", _NO_RUNTIME, ("*runc *", "Cannot *")),
    Allowed(
        "create.names_in_any_case/exec is: body.DetachKeys",
        "value",
        "not in base64",
    ),
    Allowed("life.updating_field_by_field/swap below memory, *: *", "any", _REFUSED),
    Allowed("life.updating_field_by_field/made after swap below memory: MemorySwap", "any", _REFUSED),
    Allowed("life.signals/signal *: body.message", "value", _AS_NEWER),
    Allowed("links.renamed_and_removed/after removing: ", "any", _UNLINKED),
    Allowed("links.renamed_and_removed/start: *", "any", _UNLINKED),
    Allowed("create.refused_bodies/no image: *", "any", _REFUSED),
    Allowed("create.refused_bodies/invalid exposed port: *", "any", _REFUSED),
    Allowed("create.refused_bodies/volume of the wrong kind: *", "any", _REFUSED),
    Allowed("create.refused_host_configs/unknown protocol: *", "any", _REFUSED),
    Allowed("create.refused_host_configs/host address that is none: *", "any", _REFUSED),
    Allowed("create.refused_bodies/working directory that is a file: *", "any", "found out when it starts"),
    Allowed("life.programs_that_do_not_start/start bind: *", "any", "not taken for a missing command"),
    Allowed("life.programs_that_do_not_start/state of bind: *", "any", "not taken for a missing command"),
    Allowed("files.stat/stat /link/: *", "any", "Docker 20.10 has an internal error there"),
    Allowed("images.pulled/nothing: body.message", "value", "says what is missing"),
    Allowed("*: body*", "pair", "the path that is in the way", ("*cannot overwrite *", "cannot overwrite *")),
    Allowed("files.put_into_a_read_only_root/put: status", "pair", "forbidden is 403", (500, 403)),
    Allowed("*: body*", "pair", "one way to say it", ("no such container *", "No such container: *")),
    Allowed(
        "create.refused_host_configs/volumes of an unknown*: status", "pair", "not found is 404", (400, 404)
    ),
    Allowed(
        "create.refused_host_configs/* of an unknown container: status",
        "pair",
        "not found is 404",
        (400, 404),
    ),
    Allowed("create.refused_host_configs/device that is not there: *", "any", _SOONER),
    Allowed("create.refused_host_configs/gpu: *", "any", _SOONER),
    Allowed("create.refused_host_configs/tmpfs with an unknown option*", "any", _SOONER),
    Allowed("create.refused_host_configs/invalid ipc mode*", "any", _SOONER),
    Allowed("create.refused_host_configs/unreadable seccomp profile*", "any", _SOONER),
    Allowed("streams.log_drivers/bad *: *", "any", _SOONER),
    # What is stored.
    Allowed(
        "files.commit/*Hostname", "any", "newer Docker keeps a container's own settings out of the image"
    ),
    Allowed(
        "files.commit/*Config.Image", "any", "newer Docker keeps a container's own settings out of the image"
    ),
    Allowed("files.commit/*: Image", "any", "newer Docker keeps a container's own settings out of the image"),
    Allowed("create.everything_given/list: *Source", "pair", "the same as inspect says", ("", "<root>/*")),
    Allowed("others.events/*Attributes.course", "added", "an image's labels are in its last event too"),
    # Builds.
    Allowed(
        "*: body*", "pair", _AS_NEWER, ("dockerfile parse error line *", "dockerfile parse error on line *")
    ),
    Allowed("build.wrong_dockerfiles/bad substitution: body*", "value", _AS_NEWER),
    Allowed("build.stages/from an unknown stage: *", "any", "stages that nothing needs are not built"),
    Allowed("build.failing_steps/no image is left: *", "any", "a failed build leaves no nameless images"),
    Allowed(
        "build.wrong_contexts/ignored files: body*", "value", ".dockerignore counts whoever sends the context"
    ),
    # Registries.
    Allowed("registries.*: status", "pair", "a registry that does not answer is 503", (500, 503)),
    Allowed(
        "registries.*: status", "pair", "who is refused is told so: 401; newer Docker agrees", (500, 401)
    ),
    Allowed("registries.*: body.message", "pair", "names no sockets", ("*: dial tcp *", "*")),
    Allowed("registries.*: body.message", "pair", "in words", ("error parsing HTTP * response body: *", "*")),
    Allowed(
        "registries.*: body.message",
        "pair",
        "the registry asks at once, not when it is asked for the manifest",
        ("Head *: no basic auth credentials", "no basic auth credentials"),
    ),
    Allowed(
        "registries.*: body.message", "pair", "says to what", ("unauthorized: *", "pull access denied for *")
    ),
    Allowed(
        "registries.*/distribution of an unknown tag: body.message",
        "pair",
        "says which",
        ("manifest unknown: *", "manifest for * not found: manifest unknown: *"),
    ),
    Allowed("registries.who_may_come_in/push as nobody: body*", "any", "asked before any layer is looked at"),
]

_TOLD = "there are no control groups for an ordinary user here, and `docker info` says so"
_NO_WAY_OUT = "an ordinary user's containers have no way out here: nobody answers questions for names"

_ONE_ID = "there is one user id and one group id, and `docker info` says so"
_ORDINARY = [
    Allowed("*: body.Warnings*", "any", _NO_WAY_OUT),
    Allowed("system.info/info: body.Warnings", "any", _TOLD),
    Allowed("life.updating*/*: body.Warnings", "any", _TOLD),
    Allowed("life.statistics/*", "any", _TOLD),
    Allowed("networks.names/web from there: in default: *", "any", _NO_WAY_OUT),
    Allowed("others.inside_of_containers/mounts: *", "any", "device files can only be the host's, mounted"),
    Allowed("others.inside_of_containers/sysctls: *", "any", "as many groups as the user has"),
    Allowed("others.given_to_containers/memory: *", "any", _TOLD),
    Allowed("build.added_hosts/two: *", "any", "steps are on the host's network here, where root may ping"),
    Allowed("volumes.memory/memory at /mnt: output: *", "any", "ids, as the host's /proc/mounts shows them"),
    Allowed("volumes.given_with_the_mount/output: *", "any", "ids, as the host's /proc/mounts shows them"),
    Allowed("volumes.bind/*", "any", "the directory is root's, and the user may not write to it"),
    Allowed("others.given_to_containers/tmpfs: *", "any", "root's id, as the host's /proc/mounts shows it"),
]
_SINGLE = [
    Allowed("health.sick_and_well/box is *", "any", _ONE_ID),
    Allowed("others.own_seccomp_profile/output: *", "any", _ONE_ID),
    Allowed("volumes.memory/*: output: *", "any", _ONE_ID),
    Allowed("streams.exec_in/user: output: *", "any", _ONE_ID),
    Allowed("files.fetch/fetch /srv*: body*.owner*", "any", _ONE_ID),
    Allowed("others.inside_of_containers/identity: *", "any", _ONE_ID),
    Allowed("others.given_to_containers/groups: *", "any", _ONE_ID),
]
ALLOWED_TO: dict[str, list[Allowed]] = {
    "user_engine": _ORDINARY,
    "single_uid_engine": [*_ORDINARY, *_SINGLE],
}
"""What differs besides for an engine of an ordinary user's: with a range of ids, and with one only."""
