"""Exercises and their checks: what a course is made of.

    from labkernel.course import Lab, check, fail

    @check
    def image(lab: Lab) -> None:
        \"\"\"There is an image me/web-base.\"\"\"
        lab.image("me/web-base")

    @check(after=image)
    def port(lab: Lab) -> None:
        \"\"\"me/web-base says that it listens on port 8080.\"\"\"
        if "8080/tcp" not in lab.image("me/web-base").exposed:
            fail("me/web-base exposes no port", hint="EXPOSE is the instruction for it")

A check looks at the engine, through its API, and at what a learner's containers answer; never at the
learner's variables or printed text.
"""

from __future__ import annotations

from labkernel.course.check import Check, Failed, check, fail
from labkernel.course.exercise import Exercise, find_exercise, load_exercise
from labkernel.course.lab import Lab
from labkernel.course.objects import Container, Image
from labkernel.course.outcome import Checked, Report
from labkernel.course.run import run_checks

__all__ = [
    "Check",
    "Checked",
    "Container",
    "Exercise",
    "Failed",
    "Image",
    "Lab",
    "Report",
    "check",
    "fail",
    "find_exercise",
    "load_exercise",
    "run_checks",
]
