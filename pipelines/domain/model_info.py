"""What an exported model says about itself in `model.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.common.cli import UsageError
from pipelines.common.schema_version import require_schema_version
from pipelines.domain.decision_rule import OperatingPoint, prior_of_model, read_points
from pipelines.domain.model_files import MODEL_JSON, model_fingerprint

SCHEMA_VERSION = 3


@dataclass(frozen=True)
class ModelInfo:
    """The content of model.json and the folder it is from."""

    path: str  # the model's folder
    classes: tuple[str, ...]  # in the order of the probabilities
    malignant_classes: tuple[str, ...]
    image_size: int  # side of the square input in pixels
    aspect: str  # how images are made square, one of `forms.ASPECTS`
    encoding: str  # of the records that the model was trained on
    split: str  # of the dataset, which trained the weights
    fold: int  # of that split, which did not; -1: none
    fingerprint: str  # of all files of the folder, see `model_files`
    weights_fingerprint: str  # of weights, network and dataset: the same for two exports of one training
    dataset_fingerprint: str
    # The rest is covered by the fingerprint.
    files: dict[str, dict[str, Any]] = field(compare=False)  # size and SHA-256 of every other file of the folder
    network: dict[str, Any] = field(compare=False)  # settings of the network
    train_distribution: dict[str, float] = field(compare=False)  # class -> its share of the training images
    metrics: dict[str, Any] = field(compare=False)
    calibration: dict[str, Any] = field(compare=False)  # how the probabilities were calibrated
    # See `decision_rule.read_points`.
    operating_points: dict[str, tuple[OperatingPoint, ...]] = field(compare=False)

    @property
    def prior(self) -> tuple[float, ...]:
        """Class frequencies that the probabilities assume, in label order."""
        return prior_of_model(self.calibration, self.classes)


def parse_model_info(document: bytes, option: str, folder: str) -> ModelInfo:
    """Return what a model says about itself.

    Args:
        document: Content of its model.json.
        option: The command-line option that names the model, for messages.
        folder: The model's folder.

    Raises:
        UsageError: The document is damaged or has another schema version.
    """
    file = f"{option} {folder}: {MODEL_JSON}"
    try:
        content = json.loads(document)
        require_schema_version(content, SCHEMA_VERSION, file, "train the model again with this version")
        classes = tuple(map(str, content["classes"]))
        # Detect frequencies that lack a class here rather than on a worker.
        prior_of_model(content["calibration"], classes)
        return ModelInfo(
            path=folder,
            classes=classes,
            malignant_classes=tuple(map(str, content["malignant_classes"])),
            image_size=int(content["image_size"]),
            aspect=str(content["aspect"]),
            encoding=str(content["encoding"]),
            split=str(content["split"]),
            fold=int(content["fold"]),
            fingerprint=_own_fingerprint(content, file),
            weights_fingerprint=str(content["weights_fingerprint"]),
            dataset_fingerprint=str(content["dataset_fingerprint"]),
            files={
                str(name): {"bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
                for name, entry in content["files"].items()
            },
            network=dict(content["network"]),
            train_distribution={name: float(share) for name, share in content["train_class_distribution"].items()},
            metrics=dict(content["metrics"]),
            calibration=dict(content["calibration"]),
            operating_points=read_points(content["operating_points"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file} is damaged ({type(error).__name__}: {error}); name the model folder of trainer.task"
        ) from error


def _own_fingerprint(content: dict[str, Any], file: str) -> str:
    """Return the fingerprint that model.json has, if it is that of its content."""
    said, found = str(content["model_fingerprint"]), model_fingerprint(content)
    if said != found:
        raise UsageError(
            f"{file} was changed after the export (its fingerprint is {found[:16]}, not {said[:16]}); "
            "copy the model again from where it was trained"
        )
    return said


def require_fingerprints(models: Sequence[ModelInfo], expected: Iterable[str]) -> None:
    """Raise UsageError unless models have the fingerprints that the user expects.

    Args:
        models: The models that `--model` names.
        expected: Values of `--model_fingerprint`, in any order; none: any model will do.

    Raises:
        UsageError: A model has none of these fingerprints, or none has one of them.
    """
    wanted = list(expected)
    for model in models if wanted else ():
        if model.fingerprint not in wanted:
            raise UsageError(
                f"--model_fingerprint {wanted[0]}: {model.path} has {model.fingerprint}, so it is another model, or "
                "was changed; name the model that is meant"
            )
    if missing := sorted(set(wanted) - {model.fingerprint for model in models}):
        raise UsageError(f"--model_fingerprint {missing[0]}: no --model has it; name that model too, or leave it out")
