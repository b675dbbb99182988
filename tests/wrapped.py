"""What tests of wrappers share inside the simulator: a network, its frames as transfers, the golden results, the registers."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from export import load, reference
from hw import Folding
from hw.core.streams import input_format
from sim import frames

FOLDER = Path(os.environ["WRAPPED_FOLDER"])
NETWORK = load(FOLDER / "network.safetensors")
PORT_MAP = json.loads(next(FOLDER.glob("accelerator*.json")).read_text())
REGISTERS = PORT_MAP["registers"]
IMAGES = np.load(FOLDER / "images.npy")
GOLDEN = reference.run(NETWORK, NETWORK.encode(IMAGES))
OTHER_GOLDEN = reference.run(load(FOLDER / "other.safetensors"), NETWORK.encode(IMAGES))
Fields = dict[str, dict[str, Any]]


def transfers(pixels: int = 1) -> list[list[int]]:
    """The frames, each as the payloads of its transfers: spike words, or as many ``pixels``."""
    if PORT_MAP["frames_in"] == "pixels":
        padded = np.pad(IMAGES, ((0, 0), (0, -IMAGES.shape[1] % pixels)))
        return [[int.from_bytes(part.tobytes(), "little") for part in image.reshape(-1, pixels)] for image in padded]
    form = replace(input_format(Folding.from_dict(PORT_MAP["folding"]).plans(NETWORK)[0]), frames=0)
    words = frames.pack(NETWORK.check_inputs(NETWORK.encode(IMAGES)), form)
    values = [int.from_bytes(record.tobytes(), "little") for record in words.records]
    ends = np.cumsum(words.counts)
    return [values[end - count : end] for end, count in zip(ends, words.counts, strict=True)]


def misplaced_ends(frame: list[int], fields: Fields) -> list[list[int]]:
    """A frame of spike words whose ``last_of_frame`` only its wrapper can see to be wrong: at no word, at two, at one too early."""
    last_of_step, last_of_frame = (1 << fields[name]["offset"] for name in ("last_of_step", "last_of_frame"))
    closing = next(k for k, word in enumerate(frame) if word & last_of_step)
    assert closing < len(frame) - 1
    early = [word | last_of_frame if k == closing else word for k, word in enumerate(frame)]
    return [[*frame[:-1], frame[-1] & ~last_of_frame], early, frame[: closing + 1]]


def take_apart(value: int, fields: Fields) -> dict[str, int]:
    """The fields in a value, by name."""
    found = {}
    for name, field in fields.items():
        part = value >> field["offset"] & ((1 << field["width"]) - 1)
        found[name] = part - (field["signed"] and part >> field["width"] - 1 and 1 << field["width"])
    return found


def width(fields: Fields) -> int:
    return max(field["offset"] + field["width"] for field in fields.values())


def load_words(name: str = "network") -> list[int]:
    """What is written to register ``load`` for the weights of a network."""
    write, first = (1 << REGISTERS["load"]["fields"][field]["offset"] for field in ("write", "first"))
    return [byte | write | first * (place == 0) for place, byte in enumerate((FOLDER / f"{name}.weights").read_bytes())]


def golden_results(chosen: np.ndarray, golden: reference.Result = GOLDEN) -> list[dict[str, int]]:
    """The results that frames must have."""
    names = {"class_index": "class_index", "step": "step", "margin": "margin", "silent": "silent"}
    return [{name: int(getattr(golden.decisions, of)[frame]) for name, of in names.items()} | {"error": 0} for frame in chosen]
