"""Find the models that made stored probabilities: the one that is named, or those at the places that the run names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipelines.common.cli import UsageError
from pipelines.common.gcs_client import ServiceUnavailable
from pipelines.domain.model_files import MODEL_JSON
from pipelines.domain.model_info import ModelInfo, parse_model_info
from trainer.export.train_images import read_model_file

# Of the score job, and of an evaluation.
_SUMMARIES = ("_summary.json", "evaluation.json")


def model_places(tables: Iterable[Path]) -> dict[str, str]:
    """Return where models were when they made tables of probabilities: fingerprint -> folder.

    Args:
        tables: Parquet files; what made them is said in a summary beside each.
    """
    places: dict[str, str] = {}
    for folder in sorted({table.parent for table in tables}):
        for name in _SUMMARIES:
            try:
                content = json.loads((folder / name).read_bytes())
                models = content.get("models") or [content["model"]]
                places.update((str(model["fingerprint"]), str(model["path"])) for model in models)
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                # A table that others made has no such file, or one that says nothing of models.
                continue
    return places


def models_of(
    fingerprints: Sequence[str], places: Mapping[str, str], named: ModelInfo | None
) -> list[ModelInfo] | None:
    """Return the models that made stored probabilities; None if one of them is not to be found.

    Args:
        fingerprints: Of the models; empty if the tables do not say. Then the user may.
        places: What `model_places` returned.
        named: The model that the user named, which may be one of them.
    """
    if not fingerprints:
        return [named] if named else []
    found = []
    for fingerprint in fingerprints:
        model = named if named and named.fingerprint == fingerprint else _model_at(places.get(fingerprint, ""))
        if model is None or model.fingerprint != fingerprint:
            return None
        found.append(model)
    return found


def _model_at(place: str) -> ModelInfo | None:
    """Return what a model at a place says of itself; None if there is none (any more)."""
    if not place:
        return None
    try:
        return parse_model_info(read_model_file(place, MODEL_JSON), "--model", place)
    except (OSError, ServiceUnavailable, UsageError):
        return None
