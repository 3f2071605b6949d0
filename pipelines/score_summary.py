"""Summarize a scoring run: check the totals, measure its speed, and detect drift of the scored classes."""

from __future__ import annotations

import csv
import io
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines import account, storage
from pipelines.drift import drift
from pipelines.operating_point import flags, malignancy_scores
from pipelines.rows import REJECTED
from pipelines.score_rows import PROBABILITY_UNIT, SCORED, ScoreRow, ScoringRun, top_classes
from pipelines.score_tables import probability_matrix
from pipelines.seen import UNCHANGED
from pipelines.submission import Challenge

SCHEMA_VERSION = 2
_MICROSECONDS = 1_000_000


def tally_rows(rows: Sequence[ScoreRow], run: ScoringRun) -> Counter:
    """Return what finished rows add to the totals.

    Args:
        rows: Scored and rejected rows.
        run: The run that they belong to.
    """
    counts: Counter = Counter()
    probabilities = probability_matrix([row for row in rows if row.outcome == SCORED], run)
    if run.flagging:
        scores = malignancy_scores(probabilities, run.classes, run.malignant_classes)
        counts["flagged",] += int(flags(scores, run.flagging.threshold).sum())
    for label in top_classes(probabilities, run):
        counts["class", run.classes[label]] += 1
    for name, values in zip(run.classes, probabilities.T, strict=True):
        counts["probability", name] += sum(map(int, np.rint(values / PROBABILITY_UNIT)))
    for row in rows:
        counts["outcome", row.outcome] += 1
        counts["outcome paths",] += account.path_hash(row.path)
        # Integer sums do not depend on the order of rows.
        counts["microseconds", "read"] += round(row.read_seconds * _MICROSECONDS)
        counts["microseconds", "score"] += round(row.score_seconds * _MICROSECONDS)
        if row.outcome != SCORED:
            counts["reason", row.reason] += 1
    return counts


def describe_run(
    run: ScoringRun,
    listed: Mapping,
    totals: Mapping,
    stage_seconds: Mapping[str, float],
    drift_threshold: float,
) -> dict[str, Any]:
    """Return the content of summary.json.

    Args:
        run: The scoring run.
        listed: Output of `account.TallyListed`.
        totals: Sum of `tally_rows` over all rows, and of the counts of unchanged files.
        stage_seconds: Stage -> seconds, for stages other than reading and scoring. Like those, they are summed over all
            threads.
        drift_threshold: See `drift`.

    Raises:
        AccountingError: The totals do not agree with the listed files.
    """
    account.check_sums(listed, totals, (SCORED, REJECTED, UNCHANGED))
    seconds = time.time() - run.started.timestamp()
    counts = {outcome: totals.get(("outcome", outcome), 0) for outcome in (UNCHANGED, SCORED, REJECTED)}
    top = {name: totals.get(("class", name), 0) for name in run.classes}
    expected = {name: totals.get(("probability", name), 0) * PROBABILITY_UNIT for name in run.classes}
    found = drift(run.models[0].train_distribution, expected, drift_threshold)
    done = counts[SCORED] + counts[REJECTED]
    stages = {name: totals.get(("microseconds", name), 0) / _MICROSECONDS for name in ("read", "score")}
    return {
        "schema_version": SCHEMA_VERSION,
        "run": {
            "name": run.name,
            "started": run.started.isoformat(),
            "fingerprint": run.fingerprint,
            "tta": run.tta,
        },
        "counts": {"listed": listed.get(("listed",), 0), "ignored": listed.get(("ignored",), 0), **counts},
        "dropped": account.reasons(totals),
        "top_class": top,
        "flag": run.flagging.describe(totals.get(("flagged",), 0)) if run.flagging else None,
        "drift": {
            "figure": None if found.figure is None else round(found.figure, 4),
            "threshold": round(found.limit, 4),
            "warning": found.warning,
            "train": found.train,
            "scored": found.scored,
        },
        "models": [
            {"path": model.path, "fingerprint": model.fingerprint, "metrics": model.metrics} for model in run.models
        ],
        "seconds": round(seconds, 2),
        "images_per_second": round(done / seconds, 1),
        "stage_seconds": {name: round(value, 2) for name, value in {**stage_seconds, **stages}.items()},
    }


def describe_submission(challenge: Challenge, path: str) -> dict[str, Any]:
    """Return the `submission` entry of summary.json for a submission written to `path`."""
    text = (storage.read_if_exists(path) or b"").decode()
    # Count CSV rows, not lines: a quoted name may contain line breaks.
    lines = sum(1 for _ in csv.reader(io.StringIO(text, newline="")))
    return {"challenge": challenge.name, "images": lines - 1}


def _flag_line(flag: Mapping[str, Any], scored: int) -> str:
    line = f"flagged {flag['flagged']} of {scored}: malignancy score of {flag['threshold']:.4g} or more"
    if len(flag["validation"]) != 1:
        return line
    (point,) = flag["validation"]
    found = f"{line}; on validation it found {point['sensitivity']:.3f} of {point['malignant']} malignant images"
    if point["specificity"] is None:
        return found
    return f"{found} and left {point['specificity']:.3f} of {point['benign']} others"


def report_lines(summary: Mapping[str, Any], folder: str) -> list[str]:
    """Return the lines that the command prints after a finished run.

    Args:
        summary: The content of summary.json.
        folder: The run's partition.
    """
    counts, found = summary["counts"], summary["drift"]
    unchanged = f" + unchanged {counts[UNCHANGED]}" if counts[UNCHANGED] else ""
    lines = [f"listed {counts['listed']} = scored {counts[SCORED]} + rejected {counts[REJECTED]}{unchanged}"]
    lines += [f"  {reason}: {count}" for reason, count in summary["dropped"].items()]
    fingerprints = ", ".join(model["fingerprint"][:16] for model in summary["models"])
    lines.append(f"{summary['images_per_second']} images/s, model {fingerprints}")
    if summary["flag"]:
        lines.append(_flag_line(summary["flag"], counts[SCORED]))
    if found["warning"]:
        lines.append(
            f"drift: stability index {found['figure']:.2f} of the classes against the training data, more than "
            f"{found['threshold']:.2f}; see {storage.join(folder, 'summary.json')}"
        )
    return [*lines, f"scores {folder}"]
