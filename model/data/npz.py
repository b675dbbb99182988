"""A user's own data set: a ``.npz`` file (``docs/model.md`` lists its keys)."""

from pathlib import Path
from typing import Any

import numpy as np

from export import UserError
from export.errors import prefixed
from export.files import check_regular
from model.data.dataset import Dataset, digest_of

KEYS = ("x_train", "y_train", "x_test", "y_test", "t_train", "t_test", "class_names")
MAX_CLASSES = 1 << 16


def load(path: Path) -> Dataset:
    """The arrays of a ``.npz`` file.

    Raises:
        UserError: the file is damaged, or an array does not fit.
        OSError: the file cannot be read.
    """
    arrays = _read_npz(path)
    with prefixed(path):
        return _from_arrays(str(path), arrays)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    check_regular(path)
    with path.open("rb") as content:  # a missing file is an OSError with its name
        try:
            with np.load(content, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except Exception as error:  # numpy raises whatever zipfile, struct and ast raise on damaged bytes
            raise UserError(f"{path}: must be a whole .npz file of plain arrays: {error}") from None


def _from_arrays(name: str, arrays: dict[str, np.ndarray]) -> Dataset:
    if unknown := sorted(set(arrays) - set(KEYS)):
        raise UserError(f"keys must be among {', '.join(KEYS)}, not {', '.join(unknown)}")
    kinds = {key[0] for key in arrays if key[0] in "xt"}
    if len(kinds) != 1:
        raise UserError(f"must hold either images (x_test, x_train) or spike times (t_test, t_train), but holds {sorted(arrays)}")
    kind = kinds.pop()
    parts = {part: arrays[f"{kind}_{part}"] for part in ("train", "test") if f"{kind}_{part}" in arrays}
    shape = _check_parts(kind, parts)
    labels = {part: _check_labels(part, arrays[f"y_{part}"], parts) for part in ("train", "test") if f"y_{part}" in arrays}
    classes = 1 + max((int(part.max()) for part in labels.values()), default=0)
    names = _class_names(arrays["class_names"]) if "class_names" in arrays else tuple(map(str, range(classes)))
    if len(names) < classes:
        raise UserError(f"class_names must be at least {classes}, one per label, not {len(names)}")
    field_name, dtype = ("images", np.uint8) if kind == "x" else ("spike_times", np.int32)
    frames: dict[str, Any] = {f"{part}_{field_name}": array.reshape(len(array), -1).astype(dtype) for part, array in parts.items()}
    return Dataset(
        name=name,
        class_names=names,
        digest=digest_of(*(arrays[key] for key in sorted(arrays))),
        split="as in the file",
        train_labels=labels.get("train"),
        test_labels=labels.get("test"),
        image_shape=shape if len(shape) == 2 and kind == "x" else None,
        **frames,
    )


def _check_parts(kind: str, parts: dict[str, np.ndarray]) -> tuple[int, ...]:
    """The shape of a frame, the same in all parts."""
    for part, array in parts.items():
        key = f"{kind}_{part}"
        if array.ndim < 2 or 0 in array.shape:
            raise UserError(f"{key} must have shape (frames, inputs) or (frames, height, width), not {array.shape}")
        if kind == "x" and array.dtype != np.uint8:
            raise UserError(f"{key} must be uint8 intensities, not {array.dtype}")
        if kind == "t" and array.dtype.kind not in "iu":
            raise UserError(f"{key} must be integer spike times, not {array.dtype}")
        if kind == "t" and (array.min() < 0 or array.max() > 1 << 15):
            raise UserError(f"{key} must hold spike times from 0 to T, not {array.min()} to {array.max()}")
    shapes = {array.shape[1:] for array in parts.values()}
    if len(shapes) > 1:
        raise UserError(f"{kind}_train and {kind}_test must have frames of one shape, not {sorted(shapes)}")
    return shapes.pop()


def _class_names(names: np.ndarray) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind not in "Uiu":
        raise UserError(f"class_names must be strings of shape (classes,), not {names.dtype} {names.shape}")
    return tuple(map(str, names.tolist()))


def _check_labels(part: str, labels: np.ndarray, parts: dict[str, np.ndarray]) -> np.ndarray:
    if part not in parts:
        raise UserError(f"y_{part} needs frames for its labels, but there are none")
    if labels.shape != parts[part].shape[:1]:
        raise UserError(f"y_{part} must have shape {parts[part].shape[:1]}, one label per frame, not {labels.shape}")
    if labels.dtype.kind not in "iu":
        raise UserError(f"y_{part} must be integer labels, not {labels.dtype}")
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise UserError(f"y_{part} must be labels from 0 to {MAX_CLASSES - 1}, not from {labels.min()} to {labels.max()}")
    return labels.astype(np.int64)
