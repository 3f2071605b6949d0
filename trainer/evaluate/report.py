"""Figures and sentences that the HTML page, the Markdown text and the terminal's table of an evaluation share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pipelines.common.html import counted, grouped
from pipelines.domain.decision_rule import EIGHT_VIEWS, ONE_VIEW
from trainer.evaluate.label_tables import labels_counted
from trainer.evaluate.matching import shared_ids_named
from trainer.metrics.bootstrap import FEW

TITLE = "Evaluation"
_VIEWS = {ONE_VIEW: "each image as it is", EIGHT_VIEWS: "mean over eight flips and quarter turns"}


Result = Mapping[str, Any]


class HeadlineFigure(NamedTuple):
    """A figure with its name."""

    name: str
    estimate: Mapping[str, Any]
    n: str  # what the figure rests on, in words


def whole_percent(share: float) -> str:
    """Format a share as a whole percentage: 0.9 as `90 %`."""
    return f"{100 * share:.0f} %"


def format_estimate(estimate: Mapping[str, Any]) -> str:
    """Format an Estimate as `0.812 (0.70-0.91)`.

    A figure that does not exist becomes a dash; without an interval there are no brackets.
    """
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return f"{estimate['value']:.3f}"
    return f"{estimate['value']:.3f} ({estimate['low']:.2f}-{estimate['high']:.2f})"


def headline_figures(result: Result) -> list[HeadlineFigure]:
    """Return the headline figures that exist, in the order in which they are shown."""
    figures = result["figures"]
    at = figures["sensitivity_at_specificity"]
    images = counted(figures["n"], "image")
    found = [HeadlineFigure("Balanced accuracy", figures["balanced_accuracy"], images)]
    for name in ("melanoma", "malignant"):
        if name in at:
            title = f"{name.capitalize()} sensitivity at {whole_percent(at['specificity'])} specificity"
            found.append(HeadlineFigure(title, at[name], counted(at[name]["n"], f"{name} image")))
    if result["melanoma"]:
        auc = figures["per_class"][result["melanoma"]]["auc"]
        found.append(HeadlineFigure("Melanoma AUC", auc, counted(auc["n"], "melanoma image")))
    if "malignant_auc" in figures:
        auc = figures["malignant_auc"]
        found.append(HeadlineFigure("Malignant AUC", auc, counted(auc["n"], "malignant image")))
    found.append(HeadlineFigure("Mean AUC of the classes", figures["mean_auc"], images))
    found.append(HeadlineFigure("Accuracy", figures["accuracy"], images))
    return [one for one in found if one.estimate["value"] is not None]


def without_class(unmapped: Mapping[str, int]) -> str:
    """Describe the images whose labels map to no class: how many there are, and the first of these labels.

    Args:
        unmapped: Label -> number of images.
    """
    return f"{counted(sum(unmapped.values()), 'image')} ({labels_counted(unmapped)})"


def joined_note(result: Result) -> str:
    """Explain which classes are judged as one, and on how many images; return "" if none are."""
    if not result["joined_classes"]:
        return ""
    each = [f"{one['class']} ({counted(one['labels'], 'label')})" for one in result["joined_classes"]]
    said = f"Labels that stand for several of the model's classes are judged on the sum of these: {', '.join(each)}."
    partly = result["partly_malignant_classes"]
    if not partly:
        return said
    images = sum(result["figures"]["per_class"][name]["n"] for name in partly)
    return (
        f"{said} Only some of {', '.join(partly)} is malignant, so {counted(images, 'image')} of it "
        f"{'counts' if images == 1 else 'count'} in no figure of malignancy."
    )


def few_classes(figures: Mapping[str, Any]) -> list[str]:
    """Return the classes with so few lesions that their intervals are too narrow.

    Args:
        figures: From `metrics.evaluate`.
    """
    return [name for name, row in figures["per_class"].items() if 0 < row["groups"] < FEW]


def subgroup_columns(result: Result) -> list[tuple[str, str]]:
    """Return (key, heading) of each figure that at least one subgroup has."""
    names = {
        "balanced_accuracy": "Balanced accuracy",
        "melanoma_auc": "Melanoma AUC",
        "sensitivity": "Malignant sensitivity",
        "specificity": "Malignant specificity",
    }
    has = {key for attribute in result["subgroups"] for group in attribute["groups"] for key in group}
    return [(key, name) for key, name in names.items() if key in has]


def interval_note(result: Result) -> str:
    """Explain how the intervals were computed."""
    bootstrap = result["figures"]["bootstrap"]
    if not bootstrap["resamples"]:
        return "Without intervals (--bootstrap 0)."
    return (
        f"Intervals are {whole_percent(bootstrap['confidence'])} percentiles of "
        f"{grouped(bootstrap['resamples'])} bootstrap samples, which draw whole lesions within each class (seed "
        f"{bootstrap['seed']}). They say how a figure varies with the lesions, not with training."
    )


def threshold_note(result: Result) -> str:
    """Explain at which threshold the subgroups' sensitivity and specificity are; return "" if they have none."""
    threshold = result["subgroup_threshold"]
    if threshold is None:
        return ""
    if "target" in threshold:
        return (
            "Malignant sensitivity and specificity are at the model's operating point for "
            f"{whole_percent(threshold['target'])} sensitivity: a malignancy score of {threshold['value']:.4f} or more."
        )
    return (
        "No operating point of the model is known, so malignant sensitivity and specificity are at the threshold at "
        f"which all these images together have {whole_percent(threshold['specificity'])} specificity: a malignancy "
        f"score of {threshold['value']:.4f} or more."
    )


def part(result: Result) -> str:
    """Return which part of the dataset was evaluated: `test split`, `fold 2`; "" without a dataset."""
    if result["fold"] is not None:
        return f"fold {result['fold']}"
    return f"{result['split']} split" if result["split"] else ""


def caution(result: Result) -> tuple[str, str] | None:
    """Explain why the figures are better than they should be.

    Returns:
        (heading, sentences); None if no reason is known.
    """
    model, made_before = result["model"], result["predictions"]
    another = not model or (made_before and made_before["models"] != [model["fingerprint"]])
    if another or not result["trained_on_this_dataset"]:
        if seen := result["seen_images"]:
            return (
                f"The model was trained on {grouped(seen)} of these {counted(result['images'], 'image')}",
                "It knows them, or others of their lesions: these figures are too good.",
            )
        if seen is None and not another:
            return (
                "The model was trained on another dataset",
                "These images may have been among its training images; then these figures are too good.",
            )
        return None
    if result["fold"] is not None and model["fold"] != result["fold"]:
        return (
            "The model was trained on this fold",
            "These images were among its training images: these figures are too good.",
        )
    if result["fold"] is None and result["split"] == "train":
        but = f", all but those of fold {model['fold']}" if model["fold"] >= 0 else ""
        return (
            f"The model was trained on these images{but}",
            "These figures say how well it remembers them, not how good it is on others.",
        )
    if result["fold"] is not None or result["split"] == "validation":
        return (
            "The model was adjusted to these images",
            "Its temperature and its thresholds were chosen on them, and with --keep best the epoch: calibration and "
            "operating points are better here than on other images.",
        )
    return None


def origin(result: Result) -> list[tuple[str, str]]:
    """Return (name, value) pairs that say which model and images were evaluated, and with which versions."""
    facts = []
    if result["model"]:
        facts += [("model", result["model"]["path"]), ("model fingerprint", result["model"]["fingerprint"])]
    if result["predictions"]:
        facts.append(("predictions", result["predictions"]["path"]))
        facts += [("made by model", name) for name in result["predictions"]["models"]]
        seen = result["seen_images"]
        facts.append(("trained on these images", "not known" if seen is None else counted(seen, "image")))
    if result["views"]:
        facts.append(("views", _VIEWS[result["views"]]))
    if result["dataset"]:
        facts += [("dataset", result["dataset"]["path"]), ("dataset fingerprint", result["dataset"]["fingerprint"])]
        facts.append(("images", part(result)))
    if result["labels"]:
        facts.append(("labels", result["labels"]["path"]))
        if result["labels"]["unmapped"]:
            facts.append(("labels without a class", without_class(result["labels"]["unmapped"])))
        if conflicts := result["labels"]["conflicts"]:
            facts.append(("conflicting labels", counted(conflicts, "image")))
    if match_counts := result["matching"]:
        facts += [
            ("scored and labelled", counted(match_counts["matched"], "image")),
            ("scored without a label", counted(match_counts["scored_without_label"], "image")),
            ("labelled without a score", counted(match_counts["labelled_without_score"], "image")),
        ]
        if match_counts["repeated"]:
            facts.append(("scored again", counted(match_counts["repeated"], "file")))
        if match_counts["shared_ids"]:
            said = shared_ids_named(match_counts["shared_ids"], match_counts["first_shared_ids"])
            facts.append(("left out", said))
        if match_counts["other_bytes"]:
            facts.append(("same id, other file", counted(match_counts["other_bytes"], "image")))
    known = result["with_lesion_id"]
    facts.append(("lesion ids", f"{grouped(known)} of {counted(result['images'], 'image')}"))
    facts += [("metadata", path) for path in result["metadata"]["paths"]]
    if result["metadata"]["paths"]:
        matched = grouped(result["metadata"]["matched"])
        facts.append(("in metadata", f"{matched} of {counted(result['images'], 'image')}"))
    facts += [(f"version of {name}", version) for name, version in result["versions"].items()]
    return facts
