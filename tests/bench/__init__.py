"""How fast the engine is, beside Docker's daemon and crun in the same run: `python -m tests.bench`."""
