"""Copies of datasets that runs have made on this machine: `python -m trainer.data.dataset_copies [--remove]`.

It lists them with size and last use. With --remove it deletes those that no process uses. A run that was killed no
longer uses its copy, because the system gives up the lock of a process that ends.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command

# Folders of `gcs_dataset_cache` and of `record_reader.copy_shards`.
_COPY = re.compile(r"(gs-)?[0-9a-f]{16}")
# Open folders, for as long as the process lives.
_held: list[int] = []


def default_cache() -> Path:
    """Return the folder for copies of datasets, below the user's cache (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "isic-lesion-pipelines" / "datasets"


class DatasetCopy(NamedTuple):
    """A copy of a dataset, or of a part of one."""

    path: Path
    size: int  # bytes
    last_use: float  # seconds since the epoch


def hold(folder: Path) -> None:
    """Say that this process uses a copy until it ends, however it ends.

    Args:
        folder: The copy, which may be yet to be made.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        # Meanwhile somebody may remove the folder that is locked here.
        with contextlib.suppress(FileNotFoundError):
            opened = _open_folder(folder)
            fcntl.flock(opened, fcntl.LOCK_SH)
            if os.path.exists(folder) and os.path.samestat(os.fstat(opened), folder.stat()):
                os.utime(folder)
                _held.append(opened)
                return
            os.close(opened)


def _open_folder(folder: Path) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def copies_in(home: Path) -> Iterator[DatasetCopy]:
    """Find the copies in a folder, by name."""
    for folder in sorted(home.iterdir()) if home.is_dir() else []:
        if _COPY.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
            files = [file.stat() for file in folder.rglob("*") if file.is_file()]
            yield DatasetCopy(folder, sum(file.st_size for file in files), folder.stat().st_mtime)


def remove(copy: DatasetCopy) -> bool:
    """Delete a copy unless a process uses it, and return whether it is gone."""
    opened = _open_folder(copy.path)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(copy.path)
    except BlockingIOError:
        return False
    finally:
        os.close(opened)
    return True


def main(argv: Sequence[str] | None = None) -> None:
    """List the copies, and delete them on request.

    Raises:
        UsageError: --cache is no folder, or a copy cannot be deleted.
    """
    parser = ArgumentParser(prog="python -m trainer.data.dataset_copies", description=__doc__)
    parser.add_argument(
        "--cache", metavar="DIR", help="where they are: the --cache of trainer.task; by default ~/.cache"
    )
    parser.add_argument("--remove", action="store_true", help="delete those that no process uses")
    options = parser.parse_args(argv)
    if options.cache and not Path(options.cache).is_dir():
        raise UsageError(f"--cache {options.cache}: no such folder; name the one that trainer.task was given")
    copies = list(copies_in(Path(options.cache) if options.cache else default_cache()))
    for copy in copies:
        try:
            said = ("removed" if remove(copy) else "in use, kept") if options.remove else ""
        except OSError as error:
            raise UsageError(f"--remove: {copy.path} cannot be deleted ({error.strerror or error})") from None
        day = datetime.datetime.fromtimestamp(copy.last_use).date()
        print(f"{copy.path}  {copy.size / 1e9:.3f} GB  last used {day}{f'  {said}' if said else ''}")
    total = sum(copy.size for copy in copies) / 1e9
    print(f"{len(copies)} copies of datasets, {total:.3f} GB" + ("" if options.remove else "; --remove deletes them"))


if __name__ == "__main__":
    run_command("trainer.data.dataset_copies", main)
