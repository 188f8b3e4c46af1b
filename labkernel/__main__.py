"""`python -m labkernel` is the command `labkernel`."""

import sys

from labkernel.cli import main

sys.exit(main())
