"""Instructions -> build stages, and which of them a build needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from labkernel.engine.build.arguments import BuildArguments, platform_arguments
from labkernel.engine.build.errors import did_you_mean
from labkernel.engine.build.expansion import ExpansionError, expand
from labkernel.engine.build.instructions import (
    Arg,
    Copy,
    From,
    Instruction,
    Onbuild,
    OptionLabel,
    Run,
    instruction,
)
from labkernel.engine.build.nodes import Dockerfile, Node
from labkernel.engine.build.run_options import mounted_stage
from labkernel.engine.errors import InvalidParameter


@dataclass(frozen=True)
class Stage:
    """`index` is its number in the Dockerfile, as `COPY --from=0` counts."""

    index: int
    start: From
    base: str  # expanded
    platform: str  # expanded
    instructions: tuple[Instruction, ...] = ()

    @property
    def name(self) -> str:
        return self.start.stage

    @property
    def title(self) -> str:
        return f"stage {self.name or self.index}"


@dataclass(frozen=True)
class Plan:
    """`globals` are the ARGs before the first FROM; `stages` all of the file's; `needed` their indices."""

    dockerfile: Dockerfile
    globals: tuple[Arg, ...]
    stages: tuple[Stage, ...]
    needed: tuple[int, ...]
    arguments: BuildArguments = field(repr=False)

    @property
    def steps(self) -> int:
        """What `Step 1/n` counts up to."""
        return len(self.globals) + sum(1 + len(self.stages[i].instructions) for i in self.needed)

    def number(self, stage: Stage) -> int:
        """The step that a needed stage's FROM is, counted as in `Step 1/n`."""
        earlier = [self.stages[i] for i in self.needed if i < stage.index]
        return len(self.globals) + sum(1 + len(other.instructions) for other in earlier) + 1

    def base_stage(self, stage: Stage) -> Stage | None:
        """The stage that FROM names; None if it is an image."""
        earlier = self.stage(stage.base, stage.index)
        return earlier if earlier is not None and earlier.name == stage.base.lower() else None

    def stage(self, name: str, before: int) -> Stage | None:
        """The earlier stage that a name or a number means; None if it is none."""
        return _find(self.stages, name, before)

    def stage_not_yet(self, name: str, index: int) -> Stage | None:
        """The stage of that name that is this one, or comes after it."""
        return next((stage for stage in self.stages[index:] if stage.name == name.lower() != ""), None)


def make_plan(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str | None],
    *,
    target: str = "",
    labels: Mapping[str, str] | None = None,
    platform: str = "",
) -> Plan:
    """`platform` is what TARGETPLATFORM says, "" for this machine's. Raises DockerfileError, and
    InvalidParameter for a target that is no stage."""
    found_globals, unexpanded = _stages(dockerfile)
    known = platform_arguments(platform)
    arguments = BuildArguments(build_args, {**known, "TARGETSTAGE": target or "default"})
    for arg in found_globals:
        _declare_global(dockerfile, arg, arguments)
    stages = tuple(_expand_start(dockerfile, stage, arguments) for stage in unexpanded)
    last = _target(stages, target)
    if labels:
        stages = _with_labels(stages, last, labels)
    return Plan(dockerfile, tuple(found_globals), stages, _needed(stages, last), arguments)


def _stages(dockerfile: Dockerfile) -> tuple[list[Arg], list[Stage]]:
    found_globals: list[Arg] = []
    stages: list[Stage] = []
    for node in dockerfile.nodes:
        read = instruction(dockerfile, node)
        if isinstance(read, From):
            if read.stage and any(stage.name == read.stage for stage in stages):
                raise dockerfile.error(node, f"{read.stage} stage name already used", mark=node.arguments[2])
            stages.append(Stage(len(stages), read, read.base, read.platform))
        elif stages:
            stages[-1] = replace(stages[-1], instructions=(*stages[-1].instructions, read))
        elif isinstance(read, Arg):
            found_globals.append(read)
        else:
            raise dockerfile.error(
                node, "no build stage in current context", advice="a Dockerfile begins with FROM"
            )
    if not stages:
        raise InvalidParameter(
            "No image was generated. Is your Dockerfile empty?", hint="a Dockerfile needs a FROM"
        )
    return found_globals, stages


def _declare_global(dockerfile: Dockerfile, arg: Arg, arguments: BuildArguments) -> None:
    for name, value in arg.arguments:
        try:
            known = arguments.values()
            name = expand(name, known, escape=dockerfile.escape)
            value = None if value is None else expand(value, known, escape=dockerfile.escape)
        except ExpansionError as error:
            raise dockerfile.error(arg.node, str(error)) from None
        arguments.declare_global(name, value)


def _expand_start(dockerfile: Dockerfile, stage: Stage, arguments: BuildArguments) -> Stage:
    known = arguments.global_values()
    try:
        base = expand(stage.start.base, known, escape=dockerfile.escape)
        platform = expand(stage.start.platform, known, escape=dockerfile.escape)
    except ExpansionError as error:
        raise dockerfile.error(stage.start.node, str(error), mark=stage.start.base) from None
    if not base:
        raise dockerfile.error(
            stage.start.node,
            f"base name ({stage.start.base}) should not be blank",
            advice="an ARG used in FROM has to stand before the first FROM, and needs a value",
            mark=stage.start.base,
        )
    return replace(stage, base=base, platform=platform)


def _find(stages: Sequence[Stage], name: str, before: int) -> Stage | None:
    for stage in stages[:before]:
        if stage.name and stage.name == name.lower():
            return stage
    if name.isascii() and name.isdigit() and int(name[:9]) < before:
        return stages[int(name[:9])]
    return None


def _target(stages: Sequence[Stage], target: str) -> int:
    if not target:
        return len(stages) - 1
    # By its name alone, as Docker: a number is for COPY --from.
    found = next((stage for stage in stages if stage.name and stage.name == target.lower()), None)
    if found is None:
        names = [stage.name for stage in stages if stage.name]
        advice = did_you_mean(target.lower(), names)
        if advice is None:
            advice = (
                "the stages are: " + ", ".join(names)
                if names
                else "no stage has a name: write FROM ... AS NAME"
            )
        raise InvalidParameter(f"failed to reach build target {target} in Dockerfile", hint=advice)
    return found.index


def _with_labels(stages: tuple[Stage, ...], last: int, labels: Mapping[str, str]) -> tuple[Stage, ...]:
    extra = tuple(
        OptionLabel(Node("LABEL", (name, value), ""), ((name, value),), is_literal=True)
        for name, value in sorted(labels.items())
    )
    changed = replace(stages[last], instructions=stages[last].instructions + extra)
    return (*stages[:last], changed, *stages[last + 1 :])


def _needed(stages: Sequence[Stage], last: int) -> tuple[int, ...]:
    """The stages that the target's result depends on.

    A stage built on an image of another build may have ONBUILD triggers with `COPY --from`, which only its
    configuration tells; what they need is built when they run.
    """
    wanted = [last]
    found: set[int] = set()
    while wanted:
        index = wanted.pop()
        if index in found:
            continue
        found.add(index)
        stage = stages[index]
        sources = [stage.base] if not stage.base.isdigit() else []
        sources += [step.stage for step in stage.instructions if isinstance(step, Copy) and step.stage]
        sources += [
            mounted_stage(text)
            for step in stage.instructions
            if isinstance(step, Run)
            for text in step.mount_flags
            if mounted_stage(text)
        ]
        for step in stage.instructions:
            # An ONBUILD of an earlier stage runs in the later stages that build on it.
            if isinstance(step, Onbuild) and step.node.trigger:
                sources += [
                    flag.removeprefix("--from=")
                    for flag in step.node.trigger.flags
                    if flag.startswith("--from=")
                ]
        for source in sources:
            other = _find(stages, source, index)
            if other is not None:
                wanted.append(other.index)
    return tuple(sorted(found))
