"""What wheels and source archives hold beside the code: lessons, exercises and solutions, links followed.

hatchling's own force-include follows links too, but only the first of several to the same directory.
"""

import os
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACES = {
    "notebooks": "labkernel/notebook/lessons",
    "exercises": "labkernel/course/exercises",
    "solutions": "labkernel/course/solutions",
}
LEFT_OUT = {".ipynb_checkpoints", "__pycache__"}


class CourseFiles(BuildHookInterface):
    """Names each file to hatchling; an editable installation uses those of the repository."""

    def initialize(self, version, build_data):
        if version == "editable":
            return
        for name, place in PLACES.items():
            top = Path(self.root, name)
            for directory, directories, files in os.walk(top, followlinks=True):
                directories[:] = sorted(set(directories) - LEFT_OUT)
                for file in sorted(files):
                    path = Path(directory, file)
                    target = Path(place if self.target_name == "wheel" else name, path.relative_to(top))
                    build_data["force_include"][str(path)] = str(target)
