"""What all tests share."""

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch loads: threads that wait awake slow down tests on busy cores


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """One cache of simulator builds and syntheses for all test processes, away from the user's own, unless a folder for it is named."""
    if "FIRSTSPIKE_CACHE" not in os.environ:
        base = tmp_path_factory.getbasetemp()
        folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
        os.environ["FIRSTSPIKE_CACHE"] = str(folder)
        yield
        del os.environ["FIRSTSPIKE_CACHE"]
    else:
        yield
