"""The files of an exported model: what its fingerprint covers, and copies that are held against it.

`model.json` lists every other file of the folder with its size and SHA-256; the fingerprint is that of `model.json`
without the fingerprint itself. So it covers the whole folder, and is known without reading the large files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.common.cli import UsageError
from pipelines.domain.system_files import system_kind

# In the folder of a SavedModel.
MODEL_JSON = "assets/model.json"
_FINGERPRINT = "model_fingerprint"
_RENEW = "copy the model again from where it was trained"


class ModelFilesError(Exception):
    """A folder that does not hold the files of the model that it should; the message is one line without its path."""


def model_fingerprint(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content of model.json without the fingerprint in it, as 64 hex digits."""
    covered = {key: value for key, value in description.items() if key != _FINGERPRINT}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()


def file_entry(content: bytes) -> dict[str, Any]:
    """Return what model.json says of a file."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def local_names(folder: Path) -> list[str]:
    """Return the files below a local folder, as relative paths with forward slashes.

    Raises:
        ModelFilesError: One is a link or no regular file: what lies behind it may be another at any time.
    """
    return sorted(_regular_names(folder, ""))


def _regular_names(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_symlink():
                raise ModelFilesError(f"{name} is a link; copy the folder with what it links to (cp -rL)")
            if entry.is_dir():
                yield from _regular_names(Path(entry.path), f"{name}/")
            elif stat.S_ISREG(entry.stat().st_mode):
                yield name
            else:
                raise ModelFilesError(f"{name} is no regular file; {_RENEW}")


def seal_model(folder: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """Write the model.json of a folder whose other files are complete, and return its content.

    Args:
        folder: The folder of a SavedModel.
        description: Everything that model.json says but of the files and the fingerprint.
    """
    names = [name for name in local_names(folder) if name != MODEL_JSON]
    sealed = {**description, "files": {name: file_entry((folder / name).read_bytes()) for name in names}}
    sealed[_FINGERPRINT] = model_fingerprint(sealed)
    (folder / MODEL_JSON).parent.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_JSON).write_text(json.dumps(sealed, indent=2) + "\n", encoding="utf-8")
    return sealed


def require_file(name: str, content: bytes, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ModelFilesError unless a file of a model is the one that was exported.

    Args:
        name: The file's path in the folder.
        content: What it holds.
        files: What the model's model.json says of all files.
    """
    if name not in files:
        raise ModelFilesError(f"{name} was not exported with the model; take it out of the folder, or {_RENEW}")
    found, expected = file_entry(content), dict(files[name])
    if found != expected:
        raise ModelFilesError(f"{name} is not the file that was exported ({_difference(found, expected)}); {_RENEW}")


def _difference(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    if found["bytes"] != expected["bytes"]:
        return f"{found['bytes']:,} bytes instead of {expected['bytes']:,}"
    return f"SHA-256 {found['sha256'][:16]} instead of {expected['sha256'][:16]}"


def copy_checked(
    fingerprint: str,
    files: Mapping[str, Mapping[str, Any]],
    names: Iterable[str],
    read: Callable[[str], bytes],
    copy: Path,
) -> None:
    """Copy a model's files to a folder of this machine, each held against what was exported.

    What is loaded from the copy is what was checked, whatever happens to the original meanwhile.

    Args:
        fingerprint: The model's fingerprint, which was found before, perhaps on another machine.
        files: What its model.json said of the other files.
        names: All files in the folder. What systems leave there (.DS_Store) is passed over.
        read: Returns the content of one.
        copy: An empty folder.

    Raises:
        ModelFilesError: A file is missing, another, or one too many.
    """
    found = {name for name in names if not system_kind(name)}
    if missing := sorted({*files, MODEL_JSON} - found):
        raise ModelFilesError(f"{missing[0]} is missing; {_RENEW}")
    for name in sorted(found):
        content = read(name)
        if name == MODEL_JSON:
            _require_description(content, fingerprint)
        else:
            require_file(name, content, files)
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(content)


def _require_description(document: bytes, fingerprint: str) -> None:
    try:
        found = model_fingerprint(json.loads(document))
    except (ValueError, AttributeError):
        found = "a damaged file"
    if found != fingerprint:
        raise ModelFilesError(
            f"{MODEL_JSON} is that of another model ({found[:16]} instead of {fingerprint[:16]}): the folder was "
            "replaced while it was used; run again"
        )


def add_model_fingerprint(parser: argparse._ActionsContainer) -> None:
    """Add `--model_fingerprint` to the options of a command that runs models."""
    parser.add_argument(
        "--model_fingerprint",
        action="append",
        default=[],
        type=_fingerprint,
        metavar="HEX",
        help="refuse a --model that has another fingerprint (64 digits, in its model.json); repeat it for several "
        "models",
    )


def _fingerprint(text: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{64}", text):
        raise UsageError(f"--model_fingerprint {text!r}: the 64 hexadecimal digits of model_fingerprint are needed")
    return text.lower()
