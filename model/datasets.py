"""The table of data sets, by name; no PyTorch here.

``digits`` comes with scikit-learn. The files of the others are in the directory that the environment variable ``FIRSTSPIKE_DATA`` names,
or else downloaded (`model.data.download`). Any other name is a user's own ``.npz`` (``docs/model.md`` lists its keys).
"""

from pathlib import Path

from export import UserError
from model.data import caltech, cifar, digits, heidelberg, idx, n_mnist, npz, spoken_digits, thermometer
from model.data.dataset import Dataset

NAMES = (
    *("digits", "mnist", "fashion-mnist", "fashion-mnist-thermometer", "cifar-10", "caltech"),
    *("spoken-digits", "spoken-digits-without-SPEAKER", "shd"),
    *n_mnist.NAMES,
)
CHOICES = f"{', '.join(NAMES)} or a .npz file"


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
        return digits.load()
    if name in ("mnist", "fashion-mnist"):
        return idx.load(name, data_dir)
    if name == f"fashion-mnist{thermometer.SUFFIX}":
        return thermometer.planes(idx.load("fashion-mnist", data_dir))
    if name == "cifar-10":
        return cifar.load(data_dir)
    if name == "caltech":
        return caltech.load(data_dir)
    if name == "shd":
        return heidelberg.load(data_dir)
    if name in n_mnist.NAMES:
        return n_mnist.load(name, data_dir)
    if name.startswith("spoken-digits"):
        return spoken_digits.load(name, data_dir)
    if name.endswith(".npz"):
        return npz.load(Path(name))
    raise UserError(f"data set must be {CHOICES}, not {name!r}")
