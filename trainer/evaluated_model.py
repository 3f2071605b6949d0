"""The model that an evaluation is of: what it says about itself, wherever it is. Imports no TensorFlow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pipelines.cli import UsageError
from pipelines.gcs_transfer import GcsFolder, is_gs


@dataclass(frozen=True)
class ModelInfo:
    """What a model directory says about itself. `classes[i]` is the name of probability i.

    place: where the user says it is, which is not `path` for the copy of a model in a bucket.
    """

    path: Path
    place: str
    fingerprint: str
    dataset_fingerprint: str
    classes: tuple[str, ...]
    malignant_classes: tuple[str, ...]


def read_model_info(directory: Path, place: str | Path | None = None) -> ModelInfo:
    """Read DIRECTORY/assets/model.json. Raises UsageError for a directory that is not a model of `trainer.task`.

    place: where it is in the user's words, if that is another place.
    """
    place = place or directory
    where, remedy = f"--model {place}", "name the model directory that python -m trainer.task wrote"
    if not directory.is_dir():
        raise UsageError(f"{where}: no such directory; {remedy}")
    document = directory / "assets" / "model.json"
    for file in (directory / "saved_model.pb", document):
        if not file.is_file():
            raise UsageError(f"{where}: not a model directory (no {file.relative_to(directory)}); {remedy}")
    try:
        values = json.loads(document.read_text(encoding="utf-8"))
        return ModelInfo(
            path=directory,
            place=str(place),
            fingerprint=str(values["model_fingerprint"]),
            dataset_fingerprint=str(values["dataset_fingerprint"]),
            classes=tuple(map(str, values["classes"])),
            malignant_classes=tuple(map(str, values["malignant_classes"])),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{where}: assets/model.json is damaged ({type(error).__name__}: {error}); {remedy}") from None


def copied_model(place: str | Path, temporary: Path) -> Path:
    """The model's directory: if it is in a bucket, a copy of it below `temporary`."""
    if not is_gs(place):
        return Path(place)
    folder = GcsFolder(str(place), "--model")
    copy = temporary / "model"
    copy.mkdir()
    names = folder.list()
    # Another folder, perhaps a whole archive, is not copied to be told so.
    if "saved_model.pb" in names:
        folder.download(names, copy)
    return copy
