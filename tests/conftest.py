"""What all tests share."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """Keep simulator builds away from the user's own, unless a folder for them is named."""
    if "FIRSTSPIKE_CACHE" not in os.environ:
        os.environ["FIRSTSPIKE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
        yield
        del os.environ["FIRSTSPIKE_CACHE"]
    else:
        yield
