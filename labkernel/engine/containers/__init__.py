"""Containers: what they were asked to be, what they are, and their streams."""
