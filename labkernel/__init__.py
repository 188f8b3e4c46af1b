"""A teaching lab for containers that lives in Jupyter, on a container engine of its own."""
