"""The lines that the command prints when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.dataset import accounting
from pipelines.dataset.file_names import CARD_PAGE, CARD_TEXT
from pipelines.dataset.frequent_lesions import frequent_lines
from pipelines.domain.dataset_json import DATASET_JSON
from pipelines.storage import filesystem


def summary_lines(description: Mapping[str, Any], folder: str) -> list[str]:
    """Return what became of the files, and what the dataset holds."""
    counts = description["counts"]
    lines = [
        f"listed {counts['listed']} = written {counts['written']} + duplicates {counts['duplicates']}"
        f" + rejected {counts['rejected']} + undersampled {counts['undersampled']}"
        + (f" + ignored {counts['ignored']}" if counts["ignored"] else ""),
        *accounting.beside_lines(description["beside"], filesystem.join(folder, DATASET_JSON)),
    ]
    for reason, count in description["dropped"].items():
        lines.append(f"  {reason}: {count}")
    near = description["near_duplicates"]
    lines.append(
        f"near-duplicates: {near['pairs']} pairs, each in one split"
        + (f"; {near['skipped']} comparisons left out" if near["skipped"] else "")
    )
    lines.append(f"lesion ids: of {counts['with_lesion_id']} of {counts['written']} images written")
    lines += frequent_lines(description["frequent_lesions"])
    for name, split in description["splits"].items():
        folds = f" in {len(split['folds'])} folds" if split.get("folds") else ""
        shards = f"{len(split['shards'])} shards{folds}"
        lines.append(f"{name}: {split['originals']} images, {split['examples']} examples, {shards}")
    lines.append(f"fingerprint {description['fingerprint'][:16]}")
    lines.append(f"dataset {folder}, described in {CARD_PAGE} and {CARD_TEXT}")
    return lines


def update_line(description: Mapping[str, Any], reused: int) -> str:
    """Return how many examples an update took from the earlier dataset."""
    examples = sum(split["examples"] for split in description["splits"].values())
    return f"of {examples} examples {reused} were there already"
