#!/usr/bin/env python3
"""One command on a bare machine: make the locked environment, then run Tallygate or its tests in it.

    python3 deploy/up.py [options of `tallygate up`]
    python3 deploy/up.py test [options of pytest]

Standard library only. Every package comes from the usual index (or the one that pip or uv is told to use), in the
version and with a hash that uv.lock states.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells people so
    sys.exit(
        f"Tallygate needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Try: "
        "apt-get install python3.11 (Debian, Ubuntu), dnf install python3.11 (Fedora), brew install python (macOS)."
    )

import tomllib

ROOT = Path(__file__).resolve().parent.parent
DOWNLOAD_BYTES_MAX = 20_000_000
DOWNLOAD_TIMEOUT_S = 60
PIP_INSTALL = ("install", "--no-input", "--no-compile", "--disable-pip-version-check")
PIP_SETTINGS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX")
PIP_CONFIG_WORDS = re.compile(r"^\s*(extra-)?index-url|^\s*find-links|^\s*no-index", re.M)


def main(arguments: list[str]) -> None:
    """Make the environment if it is not there, and become the program that was asked for."""
    testing = arguments[:1] == ["test"]
    for variable in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        os.environ.pop(variable, None)
    python = ensure_environment(with_tests=testing)
    if testing:
        os.chdir(ROOT)
        command = [str(python), "-m", "pytest", *arguments[1:]]
    else:
        command = [str(python), "-m", "deploy.cli", "up", *arguments]
    os.execv(command[0], command)


def ensure_environment(*, with_tests: bool) -> Path:
    """The Python of an environment that has what uv.lock says; made, or completed, only when it has not."""
    folder = environment_folder()
    python = folder / "bin" / "python"
    groups = "main dev" if with_tests else "main"
    stamp = folder / "tallygate.stamp"
    if is_made(stamp, python, groups):
        return python
    with only_one(folder):
        if is_made(stamp, python, groups):
            return python
        began = time.monotonic()
        say(f"making the environment in {folder} (first run, or uv.lock has changed) …")
        make_folder(folder, python)
        with tempfile.TemporaryDirectory() as scratch:
            wanted = Path(scratch) / "requirements.txt"
            wanted.write_text(requirements(with_tests=with_tests))
            install(python, wanted, Path(scratch))
        add_project(folder, python)
        stamp.write_text(f"{identity()} {groups}")
        say(f"environment ready ({time.monotonic() - began:.1f} s)")
    return python


def environment_folder() -> Path:
    """`.venv` beside the code, or, where that cannot be written, a folder in the user's cache."""
    beside = ROOT / ".venv"
    if os.access(beside if beside.exists() else ROOT, os.W_OK):
        return beside
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "tallygate" / hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]


def is_made(stamp: Path, python: Path, groups: str) -> bool:
    try:
        made, _, has = stamp.read_text().partition(" ")
    except OSError:
        return False
    return made == identity() and has.startswith(groups) and python.exists()


def identity() -> str:
    """What the environment depends on: the lock, this Python, this file's way of making it, where the code is."""
    parts = hashlib.sha256((ROOT / "uv.lock").read_bytes())
    parts.update(Path(__file__).read_bytes() + (ROOT / "deploy" / "__init__.py").read_bytes())
    parts.update(f"{sys.version} {sys.base_prefix} {ROOT}".encode())
    return parts.hexdigest()


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Two starts at once make one environment."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "tallygate.lock").open("w")
    except OSError as error:
        sys.exit(f"cannot write the environment in {folder}: {error.strerror}")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_folder(folder: Path, python: Path) -> None:
    """An empty environment, without pip: Debian and Ubuntu leave out what would put it there."""
    if python.exists() and run(
        [str(python), "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    ):
        return
    command = [sys.executable, "-m", "venv", "--without-pip", "--clear", str(folder)]
    if not run(command, show=True):
        sys.exit(f"{sys.executable} cannot make a virtual environment in {folder}")


def requirements(*, with_tests: bool) -> str:
    """What uv.lock says, as pip reads it: every version pinned, every file by its hash."""
    by_name = locked()
    markers: dict[str, set[str]] = {}
    waiting = [(wish, "") for wish in by_name["tallygate"]["dependencies"]]
    if with_tests:
        waiting += [(wish, "") for wish in by_name["tallygate"]["dev-dependencies"]["dev"]]
    seen = set()
    while waiting:
        wish, inherited = waiting.pop()
        marker = " and ".join(part for part in (inherited, braced(wish.get("marker"))) if part)
        step = (wish["name"], tuple(wish.get("extra", ())), marker)
        if step in seen:
            continue
        seen.add(step)
        package = by_name[wish["name"]]
        markers.setdefault(wish["name"], set()).add(marker)
        waiting += [(next_wish, marker) for next_wish in package.get("dependencies", ())]
        for extra in wish.get("extra", ()):
            waiting += [(each, marker) for each in package["optional-dependencies"][extra]]
    return "".join(requirement(by_name[name], markers[name]) for name in sorted(markers))


def locked() -> dict[str, dict[str, Any]]:
    """The packages of uv.lock by name."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return {package["name"]: package for package in packages}


def braced(marker: str | None) -> str:
    return f"({marker})" if marker else ""


def requirement(package: dict[str, Any], markers: set[str]) -> str:
    files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
    condition = "" if "" in markers else f" ; {' or '.join(sorted(markers))}"
    hashes = "".join(f" \\\n    --hash={file['hash']}" for file in files)
    return f"{package['name']}=={package['version']}{condition}{hashes}\n"


def install(python: Path, wanted: Path, scratch: Path) -> None:
    """Install with uv, several times as fast, unless pip has been pointed somewhere: then, and else, with pip."""
    options = ["--quiet", "--no-deps", "--require-hashes", "-r", str(wanted)]
    if not pip_is_configured() and (uv := find_uv(scratch)) is not None:
        # The certificates this machine trusts, as pip has it, not only those that uv brings along.
        os.environ.setdefault("UV_SYSTEM_CERTS", "1")
        os.environ.setdefault("UV_NATIVE_TLS", "1")
        if run([uv, "pip", "install", "--python", str(python), *options], show=True):
            return
        say("uv could not install; trying pip …")
    if not run([*pip(scratch), "--python", str(python), *PIP_INSTALL, *options], show=True):
        sys.exit(
            "the packages could not be installed (see above). Tallygate needs a package index: the default one, or set "
            "PIP_INDEX_URL (or PIP_FIND_LINKS and PIP_NO_INDEX)."
        )


def find_uv(scratch: Path) -> str | None:
    """A uv that runs: this machine's, or the one in uv.lock, fetched by pip; None where there is none."""
    if run(["uv", "--version"]):
        return "uv"
    wanted = scratch / "uv.txt"
    wanted.write_text(requirement(locked()["uv"], {""}))
    target = ["--target", str(scratch / "uv"), "--only-binary", ":all:"]
    options = ["--quiet", "--no-deps", "--require-hashes", "-r", str(wanted)]
    fetched = scratch / "uv" / "bin" / "uv"
    made = run([*pip(scratch), *PIP_INSTALL, *target, *options])
    return str(fetched) if made and run([str(fetched), "--version"]) else None


def pip_is_configured() -> bool:
    """Whether pip has been told to take packages from somewhere else than the default index."""
    if any(os.environ.get(name) for name in PIP_SETTINGS):
        return True
    home = os.environ.get("HOME", "/")
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    folders = ["/etc", f"{home}/.pip", f"{config}/pip", sys.base_prefix, sys.prefix]
    places = [f"{folder}/pip.conf" for folder in folders]
    for place in [*places, os.environ.get("PIP_CONFIG_FILE", "")]:
        with contextlib.suppress(OSError):
            if PIP_CONFIG_WORDS.search(Path(place).read_text(errors="replace")):
                return True
    return False


def pip(scratch: Path) -> list[str]:
    """A pip that can install into another environment: this Python's, the one bundled with it, or a pinned download."""
    if run([sys.executable, "-m", "pip", "--python", sys.executable, "--version"]):
        return [sys.executable, "-m", "pip"]
    with contextlib.suppress(ImportError, StopIteration):
        import ensurepip

        bundled = Path(ensurepip.__file__).parent / "_bundled"
        return [sys.executable, str(next(bundled.glob("pip-*.whl")) / "pip")]
    return [sys.executable, str(download_pip(scratch) / "pip")]


def download_pip(scratch: Path) -> Path:
    """The pip wheel of uv.lock, from a local folder of wheels or the index that pip is told to use, checked by its hash."""
    wheel = locked()["pip"]["wheels"][0]
    name = str(wheel["url"]).rpartition("/")[2]
    for place in os.environ.get("PIP_FIND_LINKS", "").split():
        local = Path(place.removeprefix("file://")) / name
        if local.exists():
            return local
    index = os.environ.get("PIP_INDEX_URL") or "https://pypi.org/simple"
    page_url = f"{index.rstrip('/')}/pip/"
    try:
        page = fetch(page_url).decode(errors="replace")
        link = re.search(rf'href="([^"]*{re.escape(name)}[^"]*)"', page)
        if link is None:
            sys.exit(f"{page_url} does not offer {name}; install pip or uv and try again")
        content = fetch(urllib.parse.urljoin(page_url, link[1].partition("#")[0]))
    except OSError as error:
        sys.exit(f"this Python has no pip, and {page_url} cannot be read: {error}")
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != wheel["hash"]:
        sys.exit(f"{page_url} offers a {name} with another hash than the one in uv.lock")
    path = scratch / name
    path.write_bytes(content)
    return path


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer:
        return bytes(answer.read(DOWNLOAD_BYTES_MAX))


def add_project(folder: Path, python: Path) -> None:
    """Make the code beside this file importable, and `tallygate` a command, without a build."""
    found = re.search(r'__version__ = "(.+)"', (ROOT / "deploy" / "__init__.py").read_text())
    version = found[1] if found else "0"
    series = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / series / "site-packages"
    about = packages / f"tallygate-{version}.dist-info"
    for old in packages.glob("tallygate-*.dist-info"):
        shutil.rmtree(old)
    about.mkdir()
    script = folder / "bin" / "tallygate"
    # The second line is a comment to Python and the command to sh: a path in `#!` must be short and without blanks.
    start = f"#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''\n"
    files = {
        packages / "tallygate.pth": f"{ROOT}\n",
        about / "METADATA": f"Metadata-Version: 2.4\nName: tallygate\nVersion: {version}\n",
        about / "INSTALLER": "deploy/up.py\n",
        script: f"{start}from deploy.cli import main\n\nmain()\n",
    }
    for path, text in files.items():
        path.write_text(text)
    # Other installers remove what is listed here before they install the project themselves.
    names = [os.path.relpath(path, packages) for path in (*files, about / "RECORD")]
    (about / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    script.chmod(0o755)


def run(command: list[str], *, show: bool = False) -> bool:
    """Whether a command succeeded; `show` lets people see what it says."""
    quiet = None if show else subprocess.DEVNULL
    try:
        done = subprocess.run(command, stdout=quiet, stderr=quiet, check=False)
    except OSError:
        return False
    return done.returncode == 0


def say(text: str) -> None:
    print(f"tallygate: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
