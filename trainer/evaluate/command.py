"""Evaluate a model on images it has not seen: `python -m trainer.evaluate`.

    OUT/confusion_matrix.png    counts, coloured by each true class's shares
    OUT/predictions.parquet     one row for each image: ids, label, predicted class, one probability per class
    OUT/report.html, report.md  the report; `docs/evaluation.md` explains each figure
    OUT/evaluation.json         every figure with its n and 95 % interval, and what was evaluated; written last

Only original photographs count: the augmented copies of the train split are left out.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.common import console
from pipelines.common.claimed_folder import ClaimedFolder, claimed_folder
from pipelines.domain.decision_rule import OperatingPoint
from pipelines.domain.taxonomy import malignant_classes
from trainer.evaluate.gcs import LocalWorkspace, local_workspace
from trainer.evaluate.options import (
    OURS,
    PAGE,
    PICTURE,
    PREDICTIONS,
    SCHEMA_VERSION,
    SUMMARY,
    TEXT,
    EvaluateOptions,
    EvaluationInputs,
    parse_options,
    partial_name,
)
from trainer.evaluate.seen_images import find_seen, find_seen_before, made_predictions

if TYPE_CHECKING:
    from trainer.evaluate.judgement import Judgement
    from trainer.evaluate.mistakes import MistakePictures
    from trainer.evaluate.predictions import Predictions
    from trainer.export.loaded_model import LoadedModel


def _warn(options: EvaluateOptions, inputs: EvaluationInputs) -> None:
    """Warn on stderr if maps and thresholds belong to another model."""
    model = inputs.model
    if model and inputs.stored and inputs.stored.views is None:
        console.say(
            f"--predictions {options.predictions} does not say whether it is of one view or of eight (--tta): "
            "the model's thresholds are left out; score again for them",
            "warning",
        )
    if model and inputs.stored and _made_by_another(inputs):
        console.say(
            f"--model {model.path} did not make these predictions ({model.fingerprint[:12]}, not "
            f"{inputs.stored.models[0][:12]}): its maps show where it looks, not what made the mistakes, and its "
            "thresholds are left out",
            "warning",
        )


def _made_by_another(inputs: EvaluationInputs) -> bool:
    """Return whether the predictions name a model other than `inputs.model` as their source."""
    models = inputs.stored.models if inputs.stored else ()
    return bool(models) and inputs.model is not None and models != (inputs.model.fingerprint,)


def _predict(
    options: EvaluateOptions, inputs: EvaluationInputs, network: LoadedModel | None
) -> tuple[Predictions, dict[str, Any] | None, dict[str, Any] | None]:
    """Return the images with labels, which may be vague, and probabilities; run the model unless they are stored.

    Returns:
        The predictions; how they were matched with labels; what the table of labels left out. The last two are ready
        for JSON, and None if nothing was matched or no table of labels was read.
    """
    from trainer.evaluate.predictions import Predictions, infer, read_truth

    if inputs.stored is None:
        assert inputs.dataset is not None
        assert inputs.model is not None
        assert network is not None
        if options.tta:
            network.require_views()
        found = infer(inputs.dataset, inputs.model, network, inputs.split, options.batch_size, options.tta)
        return found, None, None

    from trainer.evaluate.label_tables import read_labels
    from trainer.evaluate.matching import match_labels
    from trainer.evaluate.stored_predictions import own_labels

    if inputs.dataset:
        predictions, match_counts = match_labels(
            inputs.stored, read_truth(inputs.dataset, inputs.split, options.batch_size)
        )
        return predictions, asdict(match_counts), None
    if options.labels:
        table = read_labels(Path(options.labels), inputs.classes, inputs.facts)
        predictions, match_counts = match_labels(inputs.stored, table.truth)
        left_out = {"path": options.labels, "unmapped": table.unmapped, "conflicts": table.conflicts}
        return predictions, asdict(match_counts), left_out
    stored = inputs.stored
    return Predictions(own_labels(stored), stored.probabilities, None, stored.prior, stored.views), None, None


def _draw(
    options: EvaluateOptions, inputs: EvaluationInputs, mistakes: Mapping[str, Any], network: LoadedModel | None
) -> dict[str, MistakePictures]:
    """Draw the worst mistakes, if there is a dataset that holds their images.

    Returns:
        The pictures by sha256.
    """
    from trainer.evaluate.mistakes import draw
    from trainer.evaluate.predictions import read_images

    info = inputs.dataset
    wanted = {entry["sha256"] for entries in mistakes.values() for entry in entries}
    if info is None or not wanted:
        return {}
    images = read_images(info, inputs.split, wanted, options.batch_size)
    return draw(mistakes, images, info.encoding, info.image_size, info.classes, network)


def run(options: EvaluateOptions) -> dict[str, Any]:
    """Evaluate, write the files, print the table and return the content of evaluation.json.

    Raises:
        UsageError: The options contradict each other, an input is missing, damaged or does not fit the others, or the
            output cannot be written.
    """
    with local_workspace(options) as workspace, claimed_folder(options.output) as claimed:
        workspace.require_output()
        result = _evaluate(options, workspace, claimed)
        claimed.require_own()
        workspace.upload()

    from trainer.evaluate.matching import shared_ids_named
    from trainer.evaluate.report import joined_note, without_class
    from trainer.evaluate.report_console import format_table

    if result["labels"] and result["labels"]["unmapped"]:
        says = without_class(result["labels"]["unmapped"])
        console.say(f"--labels {options.labels}: labels that stand for no class: {says}; left out", "warning")
    matching = result["matching"]
    if matching and matching["shared_ids"]:
        says = shared_ids_named(matching["shared_ids"], matching["first_shared_ids"])
        console.say(f"--predictions {options.predictions}: {says}; left out", "warning")
    if note := joined_note(result):
        console.say(note, "note")
    print(format_table(result["figures"]))
    speed = f", {result['images_per_second']} images/s" if result["images_per_second"] else ""
    summary = os.path.join(options.output, SUMMARY)
    print(f"\n{result['images']} images{speed}; figures in {summary}, report in {PAGE}")
    return result


def _evaluate(options: EvaluateOptions, workspace: LocalWorkspace, claimed: ClaimedFolder) -> dict[str, Any]:
    """Write all files on this machine and return the content of evaluation.json.

    Args:
        options: As the user gave them; the result names places in this form.
        workspace: Where inputs and output are on this machine.
        claimed: The output, which must still be this run's when something is written there.
    """
    inputs = workspace.inputs
    seen = find_seen(options, inputs)
    _warn(options, inputs)
    network = None
    if inputs.model and inputs.dataset:
        console.say(f"loading {options.model}", phase="starting")
        from trainer.export.loaded_model import LoadedModel

        network = LoadedModel(inputs.model)
    from trainer.evaluate.figures import describe
    from trainer.evaluate.judgement import join_classes, judge

    found, match_counts, left_out = _predict(workspace.options, inputs, network)
    if inputs.stored and not (inputs.dataset and made_predictions(inputs)):
        seen = find_seen_before(options, inputs, found.truth)
    if seen.reason:
        console.say(seen.reason, "warning")
    console.say("computing figures and intervals", phase="figures")
    predictions, vague_labels = join_classes(found)
    classes = inputs.classes
    described_by = inputs.model or inputs.dataset
    malignant = described_by.malignant_classes if described_by else tuple(malignant_classes(classes))
    judgement = judge(predictions, classes, malignant)
    points: tuple[OperatingPoint, ...] = ()
    if inputs.model and predictions.views and not _made_by_another(inputs):
        points = inputs.model.operating_points[predictions.views]

    model, dataset, seconds = inputs.model, inputs.dataset, predictions.seconds
    result = {
        "schema_version": SCHEMA_VERSION,
        "split": (options.split if options.fold is None else "train") if dataset else None,
        "fold": options.fold,
        "dataset": {"path": str(options.dataset), "fingerprint": dataset.fingerprint} if dataset else None,
        "model": {
            "path": str(options.model),
            "fingerprint": model.fingerprint,
            "dataset_fingerprint": model.dataset_fingerprint,
            "fold": model.fold,
        }
        if model
        else None,
        "predictions": {"path": str(options.predictions), "models": list(inputs.stored.models)}
        if inputs.stored
        else None,
        "labels": left_out,
        "matching": match_counts,
        "trained_on_this_dataset": model.dataset_fingerprint == dataset.fingerprint if model and dataset else None,
        "seen_images": seen.images,
        "views": predictions.views,
        "seconds": None if seconds is None else round(seconds, 3),
        "images_per_second": None if seconds is None else round(len(predictions.truth.labels) / max(seconds, 1e-9), 1),
        "joined_classes": [
            {"class": name, "members": [classes[label] for label in members], "labels": vague_labels[members]}
            for name, members in zip(*judgement.classes, strict=True)
            if len(members) > 1
        ],
        **describe(predictions.truth, judgement, inputs.facts, points, bootstrap=options.bootstrap, seed=options.seed),
        "metadata": {
            "paths": list(map(str, inputs.metadata)),
            "matched": sum(name in inputs.facts for name in predictions.truth.source_id),
        },
        "options": {key: _plain(value) for key, value in asdict(options).items()},
        "versions": {name: importlib.metadata.version(name) for name in ("tensorflow", "numpy", "scikit-learn")},
    }
    pictures = _draw(options, inputs, result["mistakes"], network)
    claimed.require_own()
    _write(Path(workspace.options.output), result, predictions, judgement, classes, pictures)
    return result


def _plain(value: Any) -> Any:
    """Return an option's value in a form that JSON can hold."""
    return list(value) if isinstance(value, tuple) else value


def _write(
    output: Path,
    result: Mapping[str, Any],
    predictions: Predictions,
    judgement: Judgement,
    classes: Sequence[str],
    pictures: Mapping[str, MistakePictures],
) -> None:
    """Write all files under temporary names and rename them once all are complete, the summary last."""
    from trainer.evaluate.predictions import write_predictions
    from trainer.evaluate.report import part
    from trainer.evaluate.report_console import draw_confusion_matrix
    from trainer.evaluate.report_html import evaluation_page
    from trainer.evaluate.report_markdown import evaluation_text
    from trainer.metrics import metrics
    from trainer.metrics.roc_pr_curves import rank_curves

    figures = result["figures"]
    curves = rank_curves(predictions.truth.labels, judgement.probabilities, judgement.classes.names)
    files = {TEXT: evaluation_text(result), PAGE: evaluation_page(result, curves, pictures)}
    files[SUMMARY] = (json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    output.mkdir(parents=True, exist_ok=True)
    # If this run is interrupted, an earlier summary must not be left next to new predictions.
    for name in reversed(OURS):
        (output / name).unlink(missing_ok=True)
    partial = {name: output / partial_name(name) for name in OURS}
    title = f"balanced accuracy {figures['balanced_accuracy']['value']:.3f}"
    if where := part(result):
        title = f"{where}, {title}"
    draw_confusion_matrix(figures["confusion_matrix"], judgement.classes.names, title, partial[PICTURE])
    made_by = result["predictions"]["models"] if result["predictions"] else [result["model"]["fingerprint"]]
    write_predictions(
        predictions, metrics.predict(judgement.decisions), classes, made_by[0] if made_by else "", partial[PREDICTIONS]
    )
    for name, data in files.items():
        partial[name].write_bytes(data)
    for name in OURS:
        os.replace(partial[name], output / name)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and run the evaluation."""
    run(parse_options(argv))
