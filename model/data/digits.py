"""The handwritten digits that come with scikit-learn."""

import numpy as np

from model.data.dataset import Dataset, digest_of, split_stratified


def load() -> Dataset:
    """``digits``: 1,797 images of 8 × 8 pixels."""
    import sklearn.datasets  # takes a second

    data, target = sklearn.datasets.load_digits(return_X_y=True)
    images = np.minimum(255, 16 * data).astype(np.uint8)
    labels = target.astype(np.int64)
    train, test = split_stratified(labels, 360, seed=0)
    return Dataset(
        name="digits",
        class_names=tuple("0123456789"),
        digest=digest_of(images, labels),
        split="stratified, 360 of 1,797 frames for testing, chosen with seed 0",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        image_shape=(8, 8),
    )
