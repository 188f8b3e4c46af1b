"""How fast we are, beside Docker's daemon, crun and nbgrader in the same run: `python -m tests.bench`."""
