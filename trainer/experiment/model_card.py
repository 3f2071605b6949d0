"""Write the model card of a cross-validated recipe as Markdown (after Mitchell et al. 2019)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.common.markdown import table
from trainer.evaluate.report import format_estimate
from trainer.evaluate.report_markdown import subgroup_tables
from trainer.metrics.thresholds import SUBGROUP_TARGET

_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "mean_auc": "AUC, mean over classes",
    "melanoma_auc": "melanoma AUC",
    "melanoma_sensitivity": "melanoma sensitivity at 90 % specificity",
    "malignant_auc": "malignant against benign, AUC",
    "accuracy": "accuracy",
}


def format_spread(values: Mapping[str, Any]) -> str:
    """Format mean and standard deviation as `0.702 ± 0.013`.

    A figure that does not exist becomes a dash; the deviation is left out for a single fold.
    """
    if values["mean"] is None:
        return "-"
    return f"{values['mean']:.3f}" + (f" ± {values['sd']:.3f}" if values["sd"] is not None else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a Markdown table, with all columns but the first aligned to the right."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(table(head, escaped, right=[False, *[True] * (len(head) - 1)]))


def format_summary(figures: Mapping[str, Any]) -> str:
    """Format the headline figures as lines of text."""
    pooled = figures["pooled"]
    folds = len(figures["folds"])
    lines = [f"{folds} folds, n = {pooled['n']} images of {pooled['groups']} lesions; mean ± standard deviation"]
    width = max(map(len, _TITLES.values()))
    for name, title in _TITLES.items():
        eight, one = (format_spread(figures[views][name]) for views in ("spread", "one_view"))
        lines.append(f"{title:<{width}}  {eight}, {one} of one view")
    calibration = figures["calibration"]
    lines.append(
        f"{'calibration error (ECE)':<{width}}  {calibration['ece_before']:.3f}, {calibration['ece_after']:.3f} with "
        "temperature"
    )
    return "\n".join(lines)


def format_difference(estimate: Mapping[str, Any]) -> str:
    """Format a difference as `-0.021 (-0.052 to +0.011)`.

    A difference that does not exist becomes a dash; without an interval there are no brackets.
    """
    if estimate["value"] is None:
        return "-"
    if estimate["low"] is None:
        return _signed(estimate["value"])
    return f"{_signed(estimate['value'])} ({_signed(estimate['low'])} to {_signed(estimate['high'])})"


def _signed(value: float) -> str:
    """Format a number as `+0.012`; what rounds to zero never becomes `-0.000`."""
    return f"{round(value, 3) + 0.0:+.3f}"


def format_changes(figures: Mapping[str, Any]) -> str:
    """Format the ablation table as Markdown: the recipe and each change of it, on the same folds."""
    lines = figures["changes"]["lines"]
    names = [name for name in ("balanced_accuracy", "melanoma_auc") if name in lines[0]["difference"]]
    leaky = _has_leak(lines)
    head, first = [""], ["**the recipe**"]
    for name in names:
        head += [_TITLES[name], "difference"]
        first += [format_spread(lines[0]["recipe"][name]), ""]
    rows = [first + [""] * leaky]
    for line in lines:
        row = [line["says"]]
        for name in names:
            row += [format_spread(line[name]), format_difference(line["difference"][name])]
        if leaky:
            row.append(f"{line['validation']['mean']:.3f}" if line["dataset"] == "leaky" else "")
        rows.append(row)
    return _table(head + ['"validation" with the leak'] * leaky, rows)


def _has_leak(lines: Sequence[Mapping[str, Any]]) -> bool:
    return any(line["dataset"] == "leaky" for line in lines)


def _folds_table(figures: Mapping[str, Any]) -> str:
    rows = [
        [str(fold["fold"]), str(fold["n"]), *(_number(fold[name]) for name in _TITLES), f"{fold['seconds'] / 60:.0f}"]
        for fold in figures["folds"]
    ]
    rows.append(["mean ± sd", "", *(format_spread(figures["spread"][name]) for name in _TITLES), ""])
    rows.append(["of one view", "", *(format_spread(figures["one_view"][name]) for name in _TITLES), ""])
    return _table(["fold", "n", *_TITLES.values(), "minutes"], rows)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def format_classes(figures: Mapping[str, Any]) -> str:
    """Format the figures of each class, from all folds together, as a Markdown table."""
    rows = [
        [
            name + (" (malignant)" if name in figures["malignant_classes"] else ""),
            str(row["n"]),
            str(row["groups"]),
            *(format_estimate(row[column]) for column in ("sensitivity", "specificity", "auc", "average_precision")),
        ]
        for name, row in figures["pooled"]["per_class"].items()
    ]
    head = ["class", "images", "lesions", "sensitivity", "specificity", "AUC", "average precision"]
    return _table(head, rows)


def _points_table(figures: Mapping[str, Any]) -> str:
    rows = [
        [f"{point['target']:.0%}", *(format_estimate(point[name]) for name in ("sensitivity", "specificity"))]
        for point in figures["operating_points"]
    ]
    return _table(["wanted", "sensitivity", "specificity"], rows)


def _shortened(base: Mapping[str, Any]) -> str:
    """Describe the options that the ablation's base has in place of the recipe's own."""
    return f" (here with {', '.join(f'{name} {value}' for name, value in base.items())})" if base else ""


def _network(figures: Mapping[str, Any]) -> str:
    """Describe the kind of network and the weights that it starts from."""
    recipe = figures["recipe"]
    backbone = recipe.get("backbone")
    kind = f"{backbone} of keras.applications" if backbone else "A convolutional network"
    start = {"": "trained from scratch", "imagenet": "started from ImageNet weights"}
    return f"{kind}, {start.get(recipe.get('weights', ''), 'started from weights trained before on other data')},"


def _threads(figures: Mapping[str, Any]) -> str:
    """Return `1 thread`, or `1 or 2 threads` if folds had different numbers of them."""
    numbers = sorted({fold["threads"] for fold in figures["folds"]})
    return " or ".join(map(str, numbers)) + (" thread" if numbers == [1] else " threads")


def _images(figures: Mapping[str, Any]) -> str:
    """List how many images there are of each class, and what preparation left out."""
    images = figures["images"]
    text = ", ".join(f"{name} {count}" for name, count in images.items() if count)
    missing = [name for name, count in images.items() if not count]
    if missing:
        text += f"; none of {', '.join(missing)}, which the figures leave out"
    left_out = ", ".join(f"{count} {reason}" for reason, count in figures["left_out"].items())
    return text + (f". Left out by preparation: {left_out}" if left_out else "")


def _copies(figures: Mapping[str, Any]) -> str:
    """Describe the copies that preparation stored, in one sentence; return "" if there are none."""
    originals, examples = sum(figures["images"].values()), figures["dataset"]["examples"]
    if examples == originals:
        return ""
    copies = examples - originals
    return f" Networks are trained on {examples} examples: {copies} augmented copies are stored with them."


def _what_it_is(figures: Mapping[str, Any]) -> list[str]:
    network, size = figures["network"], figures["dataset"]["image_size"]
    rate = sum(fold["images_per_second"] for fold in figures["folds"]) / len(figures["folds"])
    return [
        "## What it is",
        f"{_network(figures)} that tells {sum(map(bool, figures['images'].values()))} kinds of skin lesions apart on "
        f"dermoscopic images of {size} x {size} px: {network['parameters'] / 1e6:.2f} million parameters, "
        f"{network['multiply_adds'] / 1e6:.3g} million multiply-adds for an image. "
        f"Trained at {rate:.0f} images/s with {_threads(figures)}.",
        "Meant for: sorting large archives, finding images worth a look, research on such archives. Not a medical "
        "device, not for diagnosis, not for images of other kinds than those it was trained on.",
    ]


def _data(figures: Mapping[str, Any]) -> list[str]:
    return [
        "## Data",
        f"{sum(figures['images'].values())} originals in {len(figures['folds'])} folds; photographs of one lesion are "
        f"in one fold (dataset fingerprint `{figures['dataset']['fingerprint'][:16]}`). "
        + _images(figures)
        + f".{_copies(figures)} Photographs are made square by `--aspect {figures['dataset']['aspect']}`; pixels are "
        "scaled by mean and variance of all folds together, three numbers each.",
        "Most images of the ISIC archive are licensed CC-BY-NC or CC-0: a model trained on the former is not for "
        "commercial use. `metadata.csv` and `attribution.txt` of a download say which is which.",
    ]


def _results(figures: Mapping[str, Any]) -> list[str]:
    pooled, calibration = figures["pooled"], figures["calibration"]
    at = pooled["sensitivity_at_specificity"]
    operating = [
        f"- {name} sensitivity at {at['specificity']:.0%} specificity: {format_estimate(at[name])}, n = {at[name]['n']}"
        for name in ("melanoma", "malignant")
        if name in at
    ]
    parts = [
        "## Figures",
        f"{len(figures['folds'])}-fold cross-validation. Each network is trained on all folds but one, for a number of "
        "epochs fixed beforehand, and its last weights are evaluated on the fold left out, as means over the eight "
        "flips and quarter turns; the last line is of one view, at an eighth of the cost. A prediction is the class "
        "whose probability is the largest multiple of its frequency in training.",
        _folds_table(figures),
        f"All {pooled['n']} images of {pooled['groups']} lesions, each by the network that never saw it; brackets: "
        f"{pooled['bootstrap']['confidence']:.0%} interval, bootstrap over lesions:",
        f"- balanced accuracy: {format_estimate(pooled['balanced_accuracy'])}\n" + "\n".join(operating),
        format_classes(figures),
        f"Calibration, of one view: expected calibration error of the top class (15 bins) "
        f"{calibration['ece_before']:.3f}, "
        f"{calibration['ece_after']:.3f} after temperature scaling (each fold with the temperature of the others: "
        + ", ".join(f"{value:.2f}" for value in calibration["temperatures"])
        + f"), n = {calibration['n']}. Probabilities are for classes as frequent as in training. The temperature of a "
        "fold's own network, one number, was fitted to that fold for the other figures; of one view it decides no "
        "class.",
    ]
    if figures["operating_points"]:
        parts += [
            "Flagging the malignant by a threshold of the malignancy score. Each fold's threshold is that with the "
            "wanted sensitivity on the other folds:",
            _points_table(figures),
        ]
    return parts


def _subgroups(figures: Mapping[str, Any]) -> list[str]:
    if not figures["subgroups"]:
        return []
    return [
        "## Subgroups",
        "All images, each by the network that never saw it"
        + (
            f"; malignant sensitivity and specificity at the threshold for {SUBGROUP_TARGET:.0%}"
            if figures["malignant_classes"]
            else ""
        )
        + ". Balanced accuracy is over the classes that occur in the group.",
        "\n".join(subgroup_tables(figures)).strip(),
    ]


def _changes(figures: Mapping[str, Any]) -> list[str]:
    changes = figures["changes"]
    if not changes["lines"]:
        return []
    parts = [
        "## What each part is worth",
        f"The recipe{_shortened(changes['base'])} with one change at a time, on "
        + ("fold " if len(changes["folds"]) == 1 else "folds ")
        + ", ".join(map(str, changes["folds"]))
        + f", n = {changes['lines'][0]['n']}. Brackets: {figures['pooled']['bootstrap']['confidence']:.0%} interval of "
        "the difference on the same images, bootstrap over lesions; too narrow where a class has fewer than ten "
        "lesions in a fold. It is of one network each, and networks of the same recipe differ too when they start from "
        "other weights. Of twenty lines without effect, one has an interval that leaves out 0.",
        format_changes(figures),
    ]
    if _has_leak(changes["lines"]):
        parts.append(
            "The leak: augmented copies are made first, and the split is drawn over originals and copies alike, as in "
            "many notebooks. The last column is what such a notebook prints; balanced accuracy is that of the same "
            "network on the fold it has truly never seen."
        )
    return parts


def model_card(figures: Mapping[str, Any]) -> str:
    """Return the model card.

    Args:
        figures: The content of experiment.json.
    """
    parts = [
        "# Model card",
        "Written by `python -m trainer.experiment` from the figures in its `experiment.json`; do not edit.",
        *_what_it_is(figures),
        *_data(figures),
        *_results(figures),
        *_subgroups(figures),
        *_changes(figures),
        "## Limits",
        "- The recipe was chosen with a look at some folds, so the figures of these are a little too good.\n"
        "- Rare classes have few lesions: their intervals are wide, and too narrow for fewer than ten lesions.\n"
        "- The images come from few clinics, mostly of light skin. Nothing is known of other cameras and other skin.\n"
        "- Every image gets one of the classes, also one that shows none of them.",
        "## Recipe",
        "```json\n" + json.dumps(figures["recipe"], indent=2) + "\n```",
    ]
    return "\n\n".join(parts) + "\n"
