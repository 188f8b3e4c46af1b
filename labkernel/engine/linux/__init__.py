"""System calls that Python does not offer: one thin function each, named after the call, in files by topic.

Each raises OSError whose filename is the call's name. Nothing here imports anything of ours but this package,
so that the launcher can live on the standard library and these files alone.
"""
