"""`python -m labkernel` is the command `labkernel`."""

from labkernel.cli import main

main()
