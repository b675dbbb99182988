"""Frames as the payloads of streams: spike words, words in turn behind a gate, pixels."""

import random
from collections.abc import Iterable

import numpy as np

from hw.core.dense import DensePlan
from hw.core.words import Words

Payload = dict[str, int]


def word_payloads(words: Words) -> list[list[Payload]]:
    """Words as payloads, one list per frame."""
    frames: list[list[Payload]] = [[] for _ in range(words.frame.max() + 1)]
    for k, frame in enumerate(words.frame):
        frames[frame].append(
            {
                "time": int(words.time[k]),
                "index": int(words.index[k]),
                "bits": sum(1 << int(s) for s in np.flatnonzero(words.bits[k])),
                "last_of_step": int(words.last_of_step[k]),
                "last_of_frame": int(words.last_of_frame[k]),
                "error": 0,
            }
        )
    return frames


def in_turn(frames: list[list[Payload]], plan: DensePlan, *, seed: int = 0) -> list[tuple[int, list[Payload]]]:
    """Words of many frames as they pass a gate: (frame, words of one of its steps), with tags.

    Frame k belongs to context k modulo ``plan.contexts``; which context's step comes next is drawn.
    """
    draw = random.Random(seed)
    waiting: list[list[tuple[int, list[Payload]]]] = [[] for _ in range(plan.contexts)]
    for frame, words in enumerate(frames):
        step: list[Payload] = []
        for place, word in enumerate(words):
            step.append(word | {"first": int(place == 0), "frame": frame % plan.frames})
            if word["last_of_step"]:
                waiting[frame % plan.contexts].append((frame, step))
                step = []
    steps = []
    while any(waiting):
        steps.append(draw.choice([context for context in waiting if context]).pop(0))
    return steps


def pixel_payloads(images: Iterable[np.ndarray], pixels: int = 1) -> list[list[Payload]]:
    """Frames of any lengths as beats of ``pixels`` pixels, one list per frame; what the last beat lacks is as bright as can be."""
    frames = []
    for image in images:
        parts = [[*image[k : k + pixels], *[255] * pixels][:pixels] for k in range(0, len(image), pixels)]
        frames.append([{"intensity": sum(int(p) << 8 * k for k, p in enumerate(part)), "last_of_frame": 0} for part in parts])
        frames[-1][-1]["last_of_frame"] = 1
    return frames
