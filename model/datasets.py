"""Data sets as plain arrays; no PyTorch here.

``digits`` comes with scikit-learn. The files of the others are in the directory that the environment variable ``FIRSTSPIKE_DATA`` names,
or else downloaded (`model.download`). Any other name is a user's own ``.npz`` (``docs/model.md`` lists its keys).
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from export import UserError
from model import archives, download

NAMES = ("digits", "mnist", "fashion-mnist", "caltech", "spoken-digits", "spoken-digits-without-SPEAKER", "shd")
CHOICES = f"{', '.join(NAMES)} or a .npz file"
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
IDX_SHAPES = {"train-images": (60000, 28, 28), "train-labels": (60000,), "t10k-images": (10000, 28, 28), "t10k-labels": (10000,)}
NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test", "t_train", "t_test", "class_names")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: 8-bit images, or spike times from outside; either part may be missing (None).

    Attributes:
        name: the name it was asked for by.
        train_images, test_images: uint8 (frames, inputs).
        train_spike_times, test_spike_times: int32 (frames, inputs), instead of images.
        train_labels, test_labels: int64 (frames,).
        class_names: one per class.
        image_shape: such as (28, 28), or (4, 16, 25) with four planes; None where the inputs are no image.
        digest: SHA-256 of the arrays, or of the uncompressed files.
        split: in words, how training and test part were told apart.
    """

    name: str
    class_names: tuple[str, ...]
    digest: str
    split: str
    train_images: np.ndarray | None = None
    train_labels: np.ndarray | None = None
    test_images: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    train_spike_times: np.ndarray | None = field(default=None)
    test_spike_times: np.ndarray | None = field(default=None)

    @property
    def inputs(self) -> int:
        """The number of inputs of a network for it."""
        parts = (self.test_images, self.test_spike_times, self.train_images, self.train_spike_times)
        return next(part.shape[1] for part in parts if part is not None)


def load(name: str | Path, data_dir: str | Path | None = None) -> Dataset:
    """Load a data set by name, or from a ``.npz`` file.

    Parameters:
        name: one of ``NAMES``, or the path of a ``.npz`` file.
        data_dir: directory with a folder per data set; by default the one that ``FIRSTSPIKE_DATA`` names; without either the files are
            downloaded into a cache directory.

    Raises:
        UserError: the name is unknown, or the data are missing or damaged.
        OSError: the ``.npz`` file cannot be read.
    """
    name = str(name)
    if name == "digits":
        return _digits()
    if name in ("mnist", "fashion-mnist"):
        return _idx(name, data_dir)
    if name == "caltech":
        from model import caltech  # these need `Dataset`

        return caltech.load(data_dir)
    if name == "shd":
        from model import heidelberg

        return heidelberg.load(data_dir)
    if name.startswith("spoken-digits"):
        from model import spoken_digits

        return spoken_digits.load(name, data_dir)
    if name.endswith(".npz"):
        return _npz(Path(name))
    raise UserError(f"data set must be {CHOICES}, not {name!r}")


def split_stratified(labels: np.ndarray, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices that stay and indices held out, every class in proportion: shuffled, sorted by class, taken at equal distances."""
    order = np.random.RandomState(seed).permutation(len(labels))  # this generator's streams are frozen, unlike newer ones'
    order = order[np.argsort(labels[order], kind="stable")]
    taken = np.zeros(len(labels), bool)
    taken[np.arange(held_out) * len(labels) // max(1, held_out)] = True
    return np.sort(order[~taken]), np.sort(order[taken])


def _digits() -> Dataset:
    import sklearn.datasets  # takes a second

    data, target = sklearn.datasets.load_digits(return_X_y=True)
    images = np.minimum(255, 16 * data).astype(np.uint8)
    labels = target.astype(np.int64)
    train, test = split_stratified(labels, 360, seed=0)
    return Dataset(
        name="digits",
        class_names=tuple("0123456789"),
        digest=_digest(images, labels),
        split="stratified, 360 of 1,797 frames for testing, chosen with seed 0",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        image_shape=(8, 8),
    )


def _idx(name: str, data_dir: str | Path | None) -> Dataset:
    directory = download.directory(name, data_dir)
    sha, arrays = hashlib.sha256(), {}
    for part, shape in IDX_SHAPES.items():
        content = _read(directory, f"{part}-idx{len(shape)}-ubyte")
        sha.update(content)
        arrays[part] = _parse_idx(content, shape, directory / f"{part}-idx{len(shape)}-ubyte")
    for part in ("train-labels", "t10k-labels"):
        if set(np.unique(arrays[part])) != set(range(10)):
            raise UserError(f"{directory}: {part} must hold the labels 0 to 9, not {np.unique(arrays[part]).tolist()}")
    return Dataset(
        name=name,
        class_names=FASHION_CLASSES if name == "fashion-mnist" else tuple("0123456789"),
        digest=sha.hexdigest(),
        split="the original one, 60,000 and 10,000 frames",
        train_images=arrays["train-images"].reshape(60000, 784),
        train_labels=arrays["train-labels"].astype(np.int64),
        test_images=arrays["t10k-images"].reshape(10000, 784),
        test_labels=arrays["t10k-labels"].astype(np.int64),
        image_shape=(28, 28),
    )


def _read(directory: Path, name: str) -> bytes:
    """The uncompressed content of ``name`` or ``name.gz``."""
    if (path := directory / f"{name}.gz").is_file():
        return archives.uncompressed(path)
    if (path := directory / name).is_file():
        return path.read_bytes()
    raise UserError(f"data directory {directory} must have {name}.gz, but it is missing")


def _parse_idx(content: bytes, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, type 8 (uint8), number of dimensions, each dimension as big-endian uint32, the values."""
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    if content[: len(header)] != header:
        raise UserError(f"{path}: IDX header must say uint8 {shape} ({header.hex()}), not {content[: len(header)].hex()}")
    expected = len(header) + int(np.prod(shape))
    if len(content) != expected:
        raise UserError(f"{path}: uncompressed, must have {expected} bytes, not {len(content)}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _npz(path: Path) -> Dataset:
    arrays = _read_npz(path)
    try:
        return _from_arrays(str(path), arrays)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as content:  # a missing file is an OSError with its name
        try:
            with np.load(content, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except Exception as error:  # numpy raises whatever zipfile, struct and ast raise on damaged bytes
            raise UserError(f"{path}: must be a whole .npz file of plain arrays: {error}") from None


def _from_arrays(name: str, arrays: dict[str, np.ndarray]) -> Dataset:
    if unknown := sorted(set(arrays) - set(NPZ_KEYS)):
        raise UserError(f"keys must be among {', '.join(NPZ_KEYS)}, not {', '.join(unknown)}")
    kinds = {key[0] for key in arrays if key[0] in "xt"}
    if len(kinds) != 1:
        raise UserError(f"must hold either images (x_test, x_train) or spike times (t_test, t_train), but holds {sorted(arrays)}")
    kind = kinds.pop()
    parts = {part: arrays[f"{kind}_{part}"] for part in ("train", "test") if f"{kind}_{part}" in arrays}
    shape = _check_parts(kind, parts)
    labels = {part: _check_labels(part, arrays[f"y_{part}"], parts) for part in ("train", "test") if f"y_{part}" in arrays}
    classes = 1 + max((int(part.max()) for part in labels.values()), default=0)
    names = tuple(map(str, arrays.get("class_names", np.arange(classes)).tolist()))
    if len(names) < classes:
        raise UserError(f"class_names must be at least {classes}, one per label, not {len(names)}")
    flat = {part: array.reshape(len(array), -1) for part, array in parts.items()}
    field_name = "images" if kind == "x" else "spike_times"
    return Dataset(
        name=name,
        class_names=names,
        digest=_digest(*(arrays[key] for key in sorted(arrays))),
        split="as in the file",
        train_labels=labels.get("train"),
        test_labels=labels.get("test"),
        image_shape=shape if len(shape) == 2 and kind == "x" else None,
        **{f"{part}_{field_name}": array.astype(np.uint8 if kind == "x" else np.int32) for part, array in flat.items()},
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


def _check_labels(part: str, labels: np.ndarray, parts: dict[str, np.ndarray]) -> np.ndarray:
    if part not in parts:
        raise UserError(f"y_{part} needs frames for its labels, but there are none")
    if labels.shape != parts[part].shape[:1]:
        raise UserError(f"y_{part} must have shape {parts[part].shape[:1]}, one label per frame, not {labels.shape}")
    if labels.dtype.kind not in "iu" or labels.min() < 0:
        raise UserError(f"y_{part} must be integer labels, at least 0, not {labels.dtype} from {labels.min()}")
    return labels.astype(np.int64)


def _digest(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
