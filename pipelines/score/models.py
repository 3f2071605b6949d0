"""Read the models of a run and choose the threshold that flags."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipelines.common.cli import UsageError
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW, OperatingPoint, point_for
from pipelines.domain.model_files import MODEL_JSON
from pipelines.domain.model_info import ModelInfo, parse_model_info
from pipelines.score.options import SENSITIVITY
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError


def read_model_info(option: str, folder: str) -> ModelInfo:
    """Read and check the folder of a model.

    Args:
        option: The option that names the folder, for error messages.
        folder: A SavedModel, on any filesystem that Beam supports.

    Raises:
        UsageError: The folder cannot be read or was not exported by trainer.task, or its model.json is damaged,
            changed or of another version. The other files are looked at when the model is loaded.
    """
    try:
        text = filesystem.read_if_exists(filesystem.join(folder, *MODEL_JSON.split("/")))
        is_saved_model = text or filesystem.read_if_exists(filesystem.join(folder, "saved_model.pb")) is not None
    except StorageError as error:
        raise UsageError(f"{option} {folder}: cannot be read ({error.kind})") from error
    if not is_saved_model:
        raise UsageError(f"{option} {folder}: is no model (no saved_model.pb); name the model folder of trainer.task")
    if text is None:
        raise UsageError(f"{option} {folder}: is a SavedModel, but not from trainer.task (no {MODEL_JSON})")
    return parse_model_info(text, option, folder)


def read_ensemble(option: str, folders: Sequence[str]) -> tuple[ModelInfo, ...]:
    """Read and check the models of an ensemble.

    Args:
        option: The option that names the folders, for error messages.
        folders: The folders of the models.

    Raises:
        UsageError: A folder is not a model (see `read_model_info`), a model is named twice, or the models differ in
            their classes.
    """
    models = tuple(read_model_info(option, folder) for folder in folders)
    for index, model in enumerate(models):
        for earlier in models[:index]:
            if model.weights_fingerprint == earlier.weights_fingerprint:
                raise UsageError(f"{option} {model.path}: is the same model as {earlier.path}; name each model once")
        first = models[0]
        if (model.classes, model.malignant_classes) != (first.classes, first.malignant_classes):
            raise UsageError(
                f"{option} {model.path}: has other classes than {first.path} ({', '.join(model.classes)} and "
                f"{', '.join(first.classes)}); the models of an ensemble need the same"
            )
    return models


class Flagging(NamedTuple):
    """A threshold on the malignancy score, and where it comes from."""

    threshold: float  # images with this malignancy score or more are flagged; for several models, the mean of theirs
    target: float | None = None  # sensitivity that the threshold was chosen for; None: the user gave the threshold
    points: tuple[OperatingPoint, ...] = ()  # operating points behind the threshold, in the order of the models

    def describe(self, flagged: int) -> dict[str, Any]:
        """Return the `flag` entry of _summary.json.

        Args:
            flagged: Number of flagged images in the run.
        """
        return {
            "flagged": flagged,
            "threshold": self.threshold,
            "target_sensitivity": self.target,
            "validation": [point._asdict() for point in self.points],
        }


def choose_flagging(
    models: Sequence[ModelInfo], tta: bool, sensitivity: float | None, threshold: float | None
) -> Flagging | None:
    """Choose the flagging threshold for these models.

    Args:
        models: The models of the run.
        tta: Whether scores are means over the eight flips and quarter turns; selects the operating points.
        sensitivity: Value of `--flag_sensitivity`; None if not given.
        threshold: Value of `--flag_threshold`; None if not given.

    Returns:
        The threshold; for several models, the mean of theirs. None if neither option is given and a model has no
        operating point for SENSITIVITY: then no image is judged.

    Raises:
        UsageError: A model has no operating point for the sensitivity that the user asked for.
    """
    if threshold is not None:
        return Flagging(threshold)
    target = SENSITIVITY if sensitivity is None else sensitivity
    views = EIGHT_VIEWS if tta else ONE_VIEW
    points = []
    for model in models:
        known = model.operating_points[views]
        point = point_for(known, target)
        if point is None:
            if sensitivity is None:
                return None
            has = f"those for {', '.join(f'{point.target:g}' for point in known)}; give one of them or" if known else ""
            raise UsageError(
                f"--flag_sensitivity {target:g}: {model.path} has no operating point for it, "
                f"{has or 'nor for any other; give'} --flag_threshold"
            )
        points.append(point)
    return Flagging(statistics.fmean(point.threshold for point in points), target, tuple(points))
