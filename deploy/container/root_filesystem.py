"""Build an image of the Dockerfile as a root file system, and run programs in it, without a container engine.

The Dockerfile's own instructions are carried out. The base is made as Beam makes its image: Debian with Python, the
packages that Beam's release lists for its image, Beam, and the program that starts its workers, built from its Go
module. It needs root, debootstrap and Go. Mounts and processes live in namespaces of the program that is run, and end
with it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.container.dockerfile import copied, image_of, lineage, read_stages
from deploy.engines.downloads import ROOT, DownloadError, build_go_program, download_module, download_once
from deploy.engines.prism import BEAM, RELEASE

DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"
# The release of Debian on which Beam builds its image. Both have Python 3.11.
DEBIAN = "bookworm"
PYTHON = "3.11"
BASE_IMAGE = f"apache/beam_python{PYTHON}_sdk:{RELEASE}"
# What Beam's image has of Debian: it comes with a compiler, and Beam's own Dockerfile adds the libraries.
_PACKAGES = (
    *("build-essential", "ca-certificates", "python3", "python3-dev", "python3-pip", "python3-venv"),
    *("python-is-python3", "ccache", "libgeos-dev", "libsnappy-dev", "libyaml-dev"),
)
_PATH = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
# What a container engine puts into each container.
_NAMES = ("/etc/hosts", "/etc/resolv.conf")
# How this machine trusts its package index.
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Image:
    """An image: its files, the environment of its programs, and the folder where they start."""

    root: Path
    environment: dict[str, str]
    folder: str = "/"

    def command(
        self,
        program: Sequence[str],
        shared: Sequence[Path] = (),
        user: str = "0",
        environment: dict[str, str] | None = None,
    ) -> list[str]:
        """Return the command that runs a program in the image, with the network of this machine.

        More arguments of the program may follow it.

        Args:
            program: The program and its arguments.
            shared: Files and folders of this machine that it sees at the same place.
            user: The number of its user and group.
            environment: What its environment has besides the image's.
        """
        root = self.root
        lines = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        for path in (*_existing(*_NAMES), *shared):
            place = shlex.quote(f"{root}{path}")
            folder, make = (place, "true") if path.is_dir() else (shlex.quote(f"{root}{path.parent}"), f"touch {place}")
            lines.append(f"mkdir -p {folder}; {make}; mount --bind {shlex.quote(str(path))} {place}")
        variables = [f"{key}={value}" for key, value in {**_PATH, **self.environment, **(environment or {})}.items()]
        entered = ["chroot", f"--userspec={user}:{user}", str(root), "env", "-i", *variables]
        in_folder = ["sh", "-ec", f'cd {shlex.quote(self.folder)}; exec "$@"', "sh"]
        script = "\n".join([*lines, f'exec {shlex.join([*entered, *in_folder])} "$@"'])
        # The program is the first process of its namespace: all others end with it.
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", script, "sh", *program]


def build_image(target: str, root: Path) -> Image:
    """Build a stage of the Dockerfile, which must be one on Beam's image.

    Args:
        target: Name of the stage.
        root: Where its files go; new.

    Raises:
        DownloadError: A step failed.
    """
    stages = read_stages(DOCKERFILE)
    if image_of(stages, target) != BASE_IMAGE:
        raise DownloadError(f"{target} is not built on {BASE_IMAGE}")
    base = download_once(f"beam-python{PYTHON}-image-{RELEASE}", _fill_base)
    # As cp does it: device files too.
    _run("copying the base", ["cp", "--archive", "--reflink=auto", str(base), str(root)])
    image = Image(root, {})
    arguments: dict[str, str] = {}
    for word, rest in lineage(stages, target):
        if word == "WORKDIR":
            image = Image(root, image.environment, rest)
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif word == "ENV":
            key, _, value = rest.partition("=")
            image = Image(root, {**image.environment, key: value}, image.folder)
        elif word == "ARG":
            key, _, value = rest.partition("=")
            arguments[key] = value
        elif word == "COPY":
            for sources, destination in copied([(word, rest)]):
                _copy(sources, root / image.folder.lstrip("/") / destination)
        elif word == "RUN":
            _run(f"RUN {rest}", _building(image, ["sh", "-c", rest], arguments))
    return image


def _building(image: Image, program: Sequence[str], environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the command of a program that may reach the package index as this machine does."""
    index = {key: value for key, value in os.environ.items() if key.startswith("PIP_")}
    return image.command(program, _existing(_CERTIFICATES), environment={**index, **(environment or {})})


def _existing(*paths: str) -> list[Path]:
    return [path for path in map(Path, paths) if path.exists()]


def _fill_base(root: Path) -> None:
    if not shutil.which("debootstrap"):
        raise DownloadError("debootstrap is missing, which makes the worker image's Debian: install debootstrap")
    if os.geteuid():
        raise DownloadError("the worker image's Debian can only be made by root")
    _run("Debian", ["debootstrap", "--variant=minbase", f"--include={','.join(_PACKAGES)}", DEBIAN, str(root)])
    # Debian keeps pip away from its own Python; the image's Python belongs to nobody.
    (root / "usr/lib" / f"python{PYTHON}" / "EXTERNALLY-MANAGED").unlink()
    image, container = Image(root, {}), download_module(BEAM) / "python" / "container"
    shutil.copy(container / f"py{PYTHON.replace('.', '')}" / "base_image_requirements.txt", root / "tmp")
    for packages in (["-r", "/tmp/base_image_requirements.txt"], [f"apache-beam[gcp]=={RELEASE}"]):
        pip = ["pip", "install", "--quiet", "--no-cache-dir", "--no-deps", "--prefer-binary", *packages]
        _run("the packages of Beam's image", _building(image, pip))
    boot = root / "opt" / "apache" / "beam" / "boot"
    boot.parent.mkdir(parents=True)
    build_go_program(BEAM, "python/container", root / "tmp")
    (root / "tmp" / "container").rename(boot)


def _copy(sources: Sequence[str], destination: Path) -> None:
    for source in (ROOT / each for each in sources):
        if source.is_dir():
            shutil.copytree(source, destination, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, destination)


def _run(what: str, command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
        raise DownloadError(f"{what} failed: {lines[-1][:300]}")
