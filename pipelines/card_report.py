"""Describe what a dataset card says, before it becomes a page or Markdown.

The facts come from dataset.json and from totals that only the job knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.rows import DUPLICATE, REJECTED, SPLITS, UNDERSAMPLED, WRITTEN
from pipelines.storage import printable

TITLE = "Dataset card"
# Key in the counts of dataset.json -> outcome, in the order in which the sum is shown.
OUTCOMES = {"written": WRITTEN, "duplicates": DUPLICATE, "rejected": REJECTED, "undersampled": UNDERSAMPLED}

Report = Mapping[str, Any]


def _sources(totals: Mapping, sources: Sequence[str]) -> list[dict[str, Any]]:
    described = []
    for source in dict.fromkeys(sources):
        counts = {name: totals.get(("source", source, outcome), 0) for name, outcome in OUTCOMES.items()}
        described.append({"name": printable(source), "listed": sum(counts.values()), **counts})
    return described


def _classes(description: Report, totals: Mapping) -> list[dict[str, Any]]:
    """Describe each class: its images, and what balancing made of those in train."""
    described = []
    for name in description["classes"]:
        splits = {split: description["splits"][split]["per_class"][name]["originals"] for split in SPLITS}
        examples = description["splits"]["train"]["per_class"][name]["examples"]
        left_out = totals.get(("undersampled", name), 0)
        copies = sorted(key[2] for key in totals if key[:2] == ("copies", name))
        described.append(
            {
                "class": name,
                "malignant": name in description["malignant_classes"],
                "written": sum(splits.values()),
                "splits": splits,
                "before": splits["train"] + left_out,
                "left_out": left_out,
                "images": splits["train"],
                "added": examples - splits["train"],
                "examples": examples,
                "least": copies[0] if copies else 0,
                "most": copies[-1] if copies else 0,
            }
        )
    return described


def _splits(description: Report) -> list[dict[str, Any]]:
    """Describe the splits, the train split followed by its folds."""
    described = []
    for split in SPLITS:
        part = description["splits"][split]
        parts = [(split, False, part), *((f"fold {entry['fold']}", True, entry) for entry in part.get("folds", ()))]
        described += [
            {
                "name": name,
                "is_fold": is_fold,
                "images": entry["originals"],
                "examples": entry["examples"],
                "shards": len(entry["shards"]),
                "bytes": entry["bytes"],
            }
            for name, is_fold, entry in parts
        ]
    return described


def _settings(description: Report) -> list[tuple[str, str]]:
    """Return the settings that determine the records, as text."""
    encoding = " ".join(str(value) for value in description["encoding"].values())
    own = {"image_size": description["image_size"], "aspect": description["aspect"], "encoding": encoding}
    settings = {**own, "seed": description["seed"], **description["options"]}
    return [
        (name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in settings.items()
    ]


def describe_card(
    description: Report,
    totals: Mapping,
    licenses: Sequence[tuple[str, int]],
    most_licenses: int,
    sources: Sequence[str],
    command: str,
) -> dict[str, Any]:
    """Return what the card says, as both of its forms need it.

    Args:
        description: The content of dataset.json.
        totals: The sum of `account.tally_row` over all rows.
        licenses: The most frequent licences of the written images, each with its number of files.
        most_licenses: The limit on `licenses`: with as many, there may be more.
        sources: The names of the inputs.
        command: The command that makes this dataset again.
    """
    classes = _classes(description, totals)
    sums = ("before", "left_out", "images", "added", "examples")
    return {
        "names": list(description["classes"]),
        "counts": description["counts"],
        "classes": classes,
        "total": {name: sum(entry[name] for entry in classes) for name in sums},
        "balance": description["options"]["balance"],
        "target": description["options"]["target_per_class"],
        "split_names": list(SPLITS),
        "splits": _splits(description),
        "has_folds": bool(description["splits"]["train"]["folds"]),
        "dropped": sorted(description["dropped"].items(), key=lambda item: (-item[1], item[0])),
        "conflicts": description["dropped"].get("label_conflict", 0),
        "near_duplicates": description["near_duplicates"],
        "sources": _sources(totals, sources),
        "licenses": [{"license": name, "files": files} for name, files in licenses],
        "licenses_cut": len(licenses) >= most_licenses,
        "settings": _settings(description),
        "versions": sorted(description["versions"].items()),
        "fingerprint": description["fingerprint"],
        "command": printable(command),
        "keeps_splits": " --splits_from DATASET " in command,
    }
