"""Fewer cases than all: of options, each two values of different ones meet in some case; of seeds, the first ones."""

import itertools
from collections.abc import Sequence
from typing import Any

import pytest


def pairwise(*options: Sequence[Any]) -> list[tuple]:
    """Cases, one value per option, such that any two values of different options are in one of them (greedy, deterministic)."""
    places = range(len(options))

    def pairs(case: dict[int, int]) -> set[tuple]:
        return set(itertools.combinations(sorted(case.items()), 2))

    missing = {pair for case in itertools.product(*(range(len(values)) for values in options)) for pair in pairs(dict(enumerate(case)))}
    cases = []
    while missing:
        case = dict(min(missing))
        for place in places:
            if place not in case:
                case[place] = max(range(len(options[place])), key=lambda value: len(pairs(case | {place: value}) & missing))
        missing -= pairs(case)
        cases.append(tuple(options[place][case[place]] for place in places))
    return cases


def zipped(*options: Sequence[Any]) -> list[tuple]:
    """As many cases as the longest option has values; the others' values take turns."""
    return [tuple(values[case % len(values)] for values in options) for case in range(max(map(len, options)))]


def seeds(few: int, many: int) -> list:
    """Seeds from 0 on: few, and as many as there are in ``nox -s proofs``."""
    return [pytest.param(seed, marks=[pytest.mark.proofs] * (seed >= few)) for seed in range(many)]
