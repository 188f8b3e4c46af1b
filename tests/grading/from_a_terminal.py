"""`labkernel` as a terminal starts it: python -m tests.grading.from_a_terminal ARGUMENTS

It leads a process group, which Ctrl-C goes to, and SIGINT is not ignored, as it is below pytest's rooms.
"""

from __future__ import annotations

import os
import signal

from labkernel.cli import main

if __name__ == "__main__":
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
