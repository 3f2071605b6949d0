"""Images that the model was trained on: figures on them say how well it remembers them, so they are refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pipelines.common.cli import UsageError
from pipelines.domain.model_info import ModelInfo
from trainer.data.dataset_info import DatasetInfo
from trainer.evaluate.options import EvaluateOptions, EvaluationInputs
from trainer.evaluate.predictions import GroundTruth
from trainer.evaluate.scoring_models import models_of
from trainer.export.train_images import read_train_images


class SeenImages(NamedTuple):
    """How many of the evaluated images the model was trained on."""

    images: int | None  # None: nothing says
    reason: str  # one line; "" if there is nothing to say


def made_predictions(inputs: EvaluationInputs) -> bool:
    """Return whether the model that was named makes, or has made, the probabilities."""
    return inputs.model is not None and (inputs.stored is None or inputs.stored.models == (inputs.model.fingerprint,))


def find_seen(options: EvaluateOptions, inputs: EvaluationInputs) -> SeenImages:
    """Find out how many of the images of a dataset trained the model that is named.

    Of the dataset that trained it, split and fold say so. Images of others are looked up one by one.

    Raises:
        UsageError: There are such images, and --allow_seen is not given; or the images cannot be read.
    """
    model, dataset = inputs.model, inputs.dataset
    if model is None or dataset is None or not made_predictions(inputs):
        return SeenImages(None, "")
    if model.dataset_fingerprint == dataset.fingerprint:
        found = _of_own_dataset(options, model, dataset, inputs.split)
    else:
        found = _of_another_dataset(options, model, dataset, inputs.split)
    return _allowed(options, found)


def find_seen_before(options: EvaluateOptions, inputs: EvaluationInputs, truth: GroundTruth) -> SeenImages:
    """Find out how many of some images trained the models that made their stored probabilities.

    Args:
        options: The options of the evaluation.
        inputs: Its inputs, with stored predictions.
        truth: The images, by content, id and lesion as far as scores and labels tell.

    Raises:
        UsageError: There are such images, and --allow_seen is not given; or a model's digests are damaged.
    """
    stored = inputs.stored
    assert stored is not None
    models = models_of(stored.makers, stored.made_at, inputs.model)
    if models is None:
        return SeenImages(
            None,
            f"--predictions {options.predictions}: the model that made them ({stored.makers[0][:12]}) is not to be "
            "found, so nothing says whether it was trained on these images; name its folder by --model",
        )
    known = [found for found in map(read_train_images, models) if found]
    if not known:
        return SeenImages(None, "")
    seen = np.any([one.has(truth.sha256, truth.source_id, truth.lesion_id) for one in known], axis=0)
    who = "the model was" if len(known) == 1 else "its models were"
    reason = (
        f"--predictions {options.predictions}: {who} trained on {seen.sum():,} of these {len(seen):,} images or on "
        "others of their lesions"
    )
    return _allowed(options, SeenImages(int(seen.sum()), reason if seen.any() else ""))


def _allowed(options: EvaluateOptions, found: SeenImages) -> SeenImages:
    if found.images and not options.allow_seen:
        raise UsageError(f"{found.reason}; evaluate it on others, or add --allow_seen and the report will say so")
    return found


def _of_own_dataset(options: EvaluateOptions, model: ModelInfo, dataset: DatasetInfo, split: str) -> SeenImages:
    if options.fold is not None:
        if model.fold == options.fold:
            return SeenImages(0, "")
        trained = f"with --fold {model.fold}" if model.fold >= 0 else "without --fold"
        reason = f"--fold {options.fold}: the model was trained {trained}, so also on these images"
        return SeenImages(dataset.split(split).originals, reason)
    if split != model.split:
        return SeenImages(0, "")
    part = dataset.split(split)
    left_out = part.folds[model.fold].originals if model.fold >= 0 else 0
    return SeenImages(part.originals - left_out, f"--split {split}: the model was trained on these images")


def _of_another_dataset(options: EvaluateOptions, model: ModelInfo, dataset: DatasetInfo, split: str) -> SeenImages:
    from trainer.evaluate.predictions import read_truth

    trained_on = read_train_images(model)
    if trained_on is None:
        return SeenImages(
            None,
            f"the model was trained on another dataset ({model.dataset_fingerprint[:12]}, not "
            f"{dataset.fingerprint[:12]}): these images may have been among its training images, and then these "
            "figures are too good",
        )
    truth = read_truth(dataset, split, options.batch_size)
    count = int(trained_on.has(truth.sha256, truth.source_id, truth.lesion_id).sum())
    return SeenImages(
        count,
        f"--dataset {options.dataset}: the model was trained on {count:,} of these {len(truth.sha256):,} images or "
        "on others of their lesions"
        if count
        else "",
    )
