"""The bootstrap: the locked set of packages, from whatever index there is."""

import hashlib
import importlib.metadata
import re
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement

from deploy import up


def pinned(*, with_tests: bool) -> dict[str, tuple[str, Marker | None, int]]:
    """Name → version, marker and number of hashes, as `up.requirements` writes them."""
    found = {}
    for entry in up.requirements(with_tests=with_tests).replace(" \\\n", " ").splitlines():
        wanted = Requirement(entry.partition(" --hash")[0])
        version = str(wanted.specifier).removeprefix("==")
        found[wanted.name] = (version, wanted.marker, entry.count("--hash=sha256:"))
    return found


def needed(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Collects what an installed package needs here, and what that needs."""
    if (name, extras) in seen:
        return
    seen.add((name, extras))
    for text in importlib.metadata.requires(name) or []:
        wanted = Requirement(text)
        applies = wanted.marker is None or any(
            wanted.marker.evaluate({"extra": extra}) for extra in (extras or {""})
        )
        if applies:
            needed(canonical(wanted.name), frozenset(wanted.extras), seen)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def declared() -> dict[str, list[Requirement]]:
    import tomllib

    project = tomllib.loads((up.ROOT / "pyproject.toml").read_text())
    return {
        "main": [Requirement(each) for each in project["project"]["dependencies"]],
        "dev": [Requirement(each) for each in project["dependency-groups"]["dev"]],
    }


@pytest.mark.parametrize("with_tests", [False, True])
def test_everything_needed_is_locked(
    declared: dict[str, list[Requirement]], with_tests: bool
) -> None:
    seen: set[tuple[str, frozenset[str]]] = set()
    for wanted in declared["main"] + (declared["dev"] if with_tests else []):
        needed(canonical(wanted.name), frozenset(wanted.extras), seen)
    assert {name for name, _ in seen} <= set(pinned(with_tests=with_tests))


def test_every_package_is_pinned_by_hash() -> None:
    packages = pinned(with_tests=True)
    assert packages
    assert all(hashes > 0 for _, _, hashes in packages.values())


def test_this_environment_has_the_locked_versions() -> None:
    for name, (version, marker, _) in pinned(with_tests=True).items():
        if marker is None or marker.evaluate():
            assert importlib.metadata.version(name) == version


def test_only_tests_get_the_tools_for_tests() -> None:
    assert "pytest" not in pinned(with_tests=False)
    assert "pytest" in pinned(with_tests=True)


def test_the_environment_is_remade_when_the_lock_changes(tmp_path: Path) -> None:
    stamp, python = tmp_path / "stamp", Path(sys.executable)
    stamp.write_text(f"{up.identity()} main dev")
    assert up.is_made(stamp, python, "main")
    assert up.is_made(stamp, python, "main dev")
    stamp.write_text(f"{up.identity()} main")
    assert not up.is_made(stamp, python, "main dev")
    stamp.write_text("0123 main dev")
    assert not up.is_made(stamp, python, "main")


@pytest.mark.parametrize("line", ["index-url = https://x", "find-links=/w", "no-index = true"])
def test_a_pip_that_is_told_to_look_elsewhere_is_obeyed(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in up.PIP_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\ntimeout = 9\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    before = up.pip_is_configured()
    config.write_text(f"[global]\n{line}\n")
    assert up.pip_is_configured()
    if not before:
        monkeypatch.delenv("PIP_CONFIG_FILE")
        monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.example.com/simple")
        assert up.pip_is_configured()


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index, as far as it is needed to find pip."""
    folder = tmp_path / "simple" / "pip"
    folder.mkdir(parents=True)
    (tmp_path / "files").mkdir()
    name = up.locked()["pip"]["wheels"][0]["url"].rpartition("/")[2]
    (tmp_path / "files" / name).write_bytes(b"a wheel")
    (folder / "index.html").write_text(f'<a href="../../files/{name}#sha256=00">{name}</a>')
    handler = partial(QuietFiles, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


class QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_pip_comes_from_the_index_that_is_set(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", index)
    wheel = {
        **up.locked()["pip"]["wheels"][0],
        "hash": f"sha256:{hashlib.sha256(b'a wheel').hexdigest()}",
    }
    monkeypatch.setattr(up, "locked", lambda: {"pip": {"wheels": [wheel]}})
    assert up.download_pip(tmp_path).read_bytes() == b"a wheel"


def test_a_pip_with_another_hash_is_not_run(
    index: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", index)
    with pytest.raises(SystemExit, match="another hash"):
        up.download_pip(tmp_path)


def test_an_index_that_is_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(SystemExit, match=r"127\.0\.0\.1:9/simple/pip/ cannot be read"):
        up.download_pip(tmp_path)
