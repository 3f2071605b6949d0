"""What a run says of itself: `_summary.json`, with its drift since earlier runs."""

from __future__ import annotations

import csv
import io
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines.dataset import accounting
from pipelines.dataset.image_row import REJECTED
from pipelines.domain.decision_rule import flags, malignancy_scores
from pipelines.score import chi_squared
from pipelines.score.challenge import Challenge
from pipelines.score.columns import probability_matrix
from pipelines.score.score_row import PROBABILITY_UNIT, SCORED, ScoreRow, ScoringRun, top_classes
from pipelines.score.scored_keys import UNCHANGED
from pipelines.storage import filesystem
from pipelines.storage.partitions import MARKER

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
    if read_at := [row.read_at for row in rows if row.read_at]:
        counts["read at", min(read_at)] += 1
    for row in rows:
        counts["outcome", row.outcome] += 1
        counts["outcome paths",] += accounting.path_hash(row.path)
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
    """Return the content of _summary.json.

    Args:
        run: The scoring run.
        listed: Output of `list_images.CountListed`.
        totals: Sum of `tally_rows` over all rows, and of the counts of unchanged files.
        stage_seconds: Stage -> seconds, for stages other than reading and scoring. Like those, they are summed over all
            threads.
        drift_threshold: See `drift`.

    Raises:
        AccountingError: The totals do not agree with the listed files.
    """
    accounting.check_sums(listed, totals, (SCORED, REJECTED, UNCHANGED))
    started = run.started.timestamp()
    seconds = time.time() - started
    startup = startup_seconds(totals, started, seconds)
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
        "beside": accounting.describe_beside(listed),
        "dropped": accounting.reasons(totals),
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
        "startup_seconds": round(startup, 2),
        "images_per_second": round(done / max(seconds - startup, 0.01), 1),
        "stage_seconds": {name: round(value, 2) for name, value in {**stage_seconds, **stages}.items()},
    }


def startup_seconds(totals: Mapping, started: float, seconds: float) -> float:
    """Return how long it took until the first image was read; 0 if that is not known.

    Args:
        totals: Sum of `tally_rows` over all rows.
        started: Start of the run, in seconds since 1970.
        seconds: How long the whole run took. Clocks of other machines may differ, so the start-up is at most that long.
    """
    first = min((key[1] for key in totals if key[0] == "read at"), default=None)
    return 0.0 if first is None else min(max(first / 10 - started, 0.0), seconds)


def describe_submission(challenge: Challenge, path: str) -> dict[str, Any]:
    """Return the `submission` entry of _summary.json for a submission written to `path`."""
    text = (filesystem.read_if_exists(path) or b"").decode()
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
        summary: The content of _summary.json.
        folder: The run's partition.
    """
    counts, found = summary["counts"], summary["drift"]
    unchanged = f" + unchanged {counts[UNCHANGED]}" if counts[UNCHANGED] else ""
    ignored = f" + ignored {counts['ignored']}" if counts["ignored"] else ""
    lines = [f"listed {counts['listed']} = scored {counts[SCORED]} + rejected {counts[REJECTED]}{unchanged}{ignored}"]
    lines += accounting.beside_lines(summary["beside"], filesystem.join(folder, MARKER))
    lines += [f"  {reason}: {count}" for reason, count in summary["dropped"].items()]
    fingerprints = ", ".join(model["fingerprint"][:16] for model in summary["models"])
    lines.append(
        f"{summary['images_per_second']} images/s after a start-up of {summary['startup_seconds']:.0f} s, "
        f"model {fingerprints}"
    )
    if summary["flag"]:
        lines.append(_flag_line(summary["flag"], counts[SCORED]))
    if found["warning"]:
        lines.append(
            f"drift: stability index {found['figure']:.2f} of the classes against the training data, more than "
            f"{found['threshold']:.2f}; see {filesystem.join(folder, MARKER)}"
        )
    return [*lines, f"scores {folder}"]


# Without drift, one run in a thousand exceeds the chance limit.
_CONFIDENCE = 0.999


class Drift(NamedTuple):
    """The population stability index of a run, with the shares that it compares."""

    figure: float | None  # the index; None if nothing was scored
    limit: float  # the index above which drift is a warning
    train: dict[str, float]  # class -> share of the training data
    scored: dict[str, float]  # class -> share of the scored images; 0 if nothing was scored

    @property
    def warning(self) -> bool:
        """Whether the index exceeds the limit."""
        return self.figure is not None and self.figure > self.limit


def drift(train: Mapping[str, float], scored: Mapping[str, float], threshold: float) -> Drift:
    """Return the population stability index of the scored classes against the training shares.

    PSI = sum over classes of (s - t) * ln(s / t) (Siddiqi 2006, Credit Risk Scorecards). Half an image is added to
    each class so that an empty class does not make it infinite. By convention 0.1 is a small shift, and 0.25 one that
    needs a look. Without drift, the index of n images is about chi-squared with C - 1 degrees of freedom, divided by n
    (Yurdakul 2018). The limit is therefore `threshold`, or more if so few images vary more than that by chance.

    Args:
        train: Class -> share of the training data.
        scored: Class -> expected number of images, the sum of their probabilities. Probabilities assume the class
            frequencies of training: for images from the same source they add up to these.
        threshold: Index above which the drift is a warning.
    """
    total = sum(scored.values())
    shares = {name: scored.get(name, 0) / total if total else 0.0 for name in train}
    if not total:
        return Drift(None, threshold, dict(train), shares)
    smoothed = {name: (scored.get(name, 0) + 0.5) / (total + 0.5 * len(train)) for name in train}
    # A class absent from training counts as rare as a class that no scored image has, so that the index stays finite.
    floor = 0.5 / (total + 0.5 * len(train))
    expected = {name: max(share, floor) for name, share in train.items()}
    whole = sum(expected.values())
    figure = sum(
        (smoothed[name] - expected[name] / whole) * math.log(smoothed[name] * whole / expected[name]) for name in train
    )
    chance = chi_squared.quantile(_CONFIDENCE, len(train) - 1) / total
    return Drift(figure, max(threshold, chance), dict(train), shares)
