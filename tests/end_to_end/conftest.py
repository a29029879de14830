"""Running installations, started once for the tests of a file."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import mkdtemp

import pytest

from deploy.stores import Server
from tests.end_to_end.installation import Installation, close_installation, open_installation

Start = Callable[..., Installation]


@pytest.fixture(scope="module")
def start_installation() -> Iterator[Start]:
    """`start_installation(workers=4, …)` starts a whole Tallygate; all of them stop after the file."""
    opened: list[tuple[Installation, list[Server], Path]] = []

    def start(**settings: object) -> Installation:
        # A short path, for the length of socket names, that `nobody` may traverse when we are root.
        directory = Path(mkdtemp(prefix="tg-e2e-"))
        directory.chmod(0o711)
        installation, stores = open_installation(directory, **settings)  # type: ignore[arg-type]
        opened.append((installation, stores, directory))
        return installation

    yield start
    for installation, stores, directory in reversed(opened):
        close_installation(installation, stores)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def running(start_installation: Start) -> Installation:
    """One gateway worker, test clock on."""
    return start_installation()
