"""Names for containers that were given none: a quality and a person who moved computing or its tools
forward.
"""

from __future__ import annotations

import random
from collections.abc import Container

QUALITIES = (
    "able amber bold brave breezy bright brisk calm candid clever cosy curious daring deft eager "
    "earnest easy fair fleet fond frank fresh gentle glad golden happy hardy honest jolly keen kind "
    "lively lucid lucky mellow merry mild modest neat nimble noble patient plucky polite prompt proud "
    "quick quiet ready rosy serene sharp silver sincere smart snappy steady stout sunny swift tidy "
    "true upbeat vivid warm witty zesty"
).split()
PEOPLE = (
    "adleman allen babbage backus berners boole borg carmack cerf church codd conway cox dijkstra "
    "engelbart erlang floyd gosling granville gray hamilton hamming hellman hoare hollerith hopper "
    "huffman johnson kahn kay kemeny kernighan kildall kleene knuth lamport liskov lovelace "
    "mandelbrot mccarthy metcalfe milner minsky moore naur neumann nygaard pascal perlis perlman "
    "postel rabin ritchie rivest scott shamir shannon stallman steele stonebraker stroustrup sussman "
    "sutherland tarjan thompson torvalds turing ullman wall wilkes wirth wozniak zuse"
).split()


def random_name(taken: Container[str]) -> str:
    """A name that is not taken; a number is added only where chance fails six times."""
    for _ in range(6):
        name = f"{random.choice(QUALITIES)}_{random.choice(PEOPLE)}"
        if name not in taken:
            return name
    while True:
        numbered = f"{random.choice(QUALITIES)}_{random.choice(PEOPLE)}{random.randrange(10_000)}"
        if numbered not in taken:
            return numbered
