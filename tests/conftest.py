"""What all tests share."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch loads: threads that wait awake slow down tests on busy cores


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Keep simulator builds away from the user's own, unless a folder for them is named."""
    if "FIRSTSPIKE_CACHE" not in os.environ:
        os.environ["FIRSTSPIKE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
        yield
        del os.environ["FIRSTSPIKE_CACHE"]
    else:
        yield
