"""Print the figures of one `make run`, read from its outputs: `python -m pipelines.demo.run_summary`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command
from pipelines.domain.dataset_json import DATASET_JSON, DatasetDescription, parse_description

# Summary files of the steps, relative to the folder that `make run` writes to.
DATASET, PREPARE = f"dataset/{DATASET_JSON}", "dataset/prepare.json"
TRAIN, EVALUATION = "train/train.json", "evaluation/evaluation.json"
# One match for each run of the score job; the last one by name is used.
SCORES = "scores/run=*/_summary.json"


def _read(run: Path, name: str, parse: Callable[[bytes], Any] = json.loads) -> Any:
    path = max(run.glob(name), default=run / name)
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise UsageError(f"RUN {run}: has no {name}; `make run` makes all of it") from error
    except ValueError as error:
        raise UsageError(f"RUN {run}: {name} is damaged; run `make run` again") from error


def _with_reasons(count: int, dropped: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{reason} {number}" for reason, number in dropped.items() if reason != "duplicate")
    return f"{count} ({reasons})" if reasons else str(count)


def _interval(figure: Mapping[str, Any]) -> str:
    return f"{figure['value']:.3f} (95 % interval {figure['low']:.3f} to {figure['high']:.3f}, n = {figure['n']})"


def summary_rows(run: Path) -> list[tuple[str, str]]:
    """Return the lines of the summary.

    Args:
        run: The folder that `make run` wrote to.

    Returns:
        (label, text) of each line; a label with two leading spaces belongs to the step above it.

    Raises:
        UsageError: The output of a step is missing or damaged.
        KeyError: The output of a step lacks a value, as that of another version does.
    """
    dataset: DatasetDescription = _read(run, DATASET, lambda content: parse_description(content, f"RUN {run}"))
    prepare = _read(run, PREPARE)
    train, evaluation, scores = _read(run, TRAIN), _read(run, EVALUATION), _read(run, SCORES)
    counts, splits = dataset.counts, dataset.splits
    originals = " + ".join(f"{split.originals} {name}" for name, split in splits.items())
    return [
        ("prepare: files read", str(counts["listed"] - counts["ignored"])),
        ("  images written", f"{counts['written']} = {originals}"),
        ("  training examples", f"{splits['train'].examples} with augmented copies"),
        ("  duplicates dropped", str(counts["duplicates"])),
        ("  rejected", _with_reasons(counts["rejected"], dataset.dropped)),
        (
            "  speed",
            f"{prepare['images_per_second']:.0f} images/s in {prepare['seconds']:.0f} s, start of workers included",
        ),
        ("train: best epoch", f"{train['best_epoch']} of {train['epochs']}, {train['parameters']:,} parameters"),
        ("  speed", f"{train['images_per_second']:.0f} images/s in {train['seconds']:.0f} s"),
        (f"evaluate: {evaluation['split']} images", str(evaluation["images"])),
        ("  balanced accuracy", _interval(evaluation["figures"]["balanced_accuracy"])),
        ("  speed", f"{evaluation['images_per_second']:.0f} images/s"),
        ("score: files read", str(scores["counts"]["listed"] - scores["counts"]["ignored"])),
        ("  scored", str(scores["counts"]["scored"])),
        ("  rejected", _with_reasons(scores["counts"]["rejected"], scores["dropped"])),
        (
            "  speed",
            f"{scores['images_per_second']:.0f} images/s after a start-up of {scores['startup_seconds']:.0f} s, "
            f"{scores['seconds']:.0f} s in all",
        ),
        ("dataset", f"{run / 'dataset'}"),
        ("model", f"{run / 'train' / 'model'}"),
        ("evaluation", f"{run / 'evaluation'}"),
        ("scores", f"{run / 'scores'}"),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    """Print the summary of a run.

    Args:
        argv: Arguments without the program name; None for `sys.argv`.

    Raises:
        UsageError: The output of a step is missing, damaged, or from another version.
    """
    parser = ArgumentParser("python -m pipelines.demo.run_summary", description="Print the figures of one `make run`.")
    parser.add_argument("run", metavar="RUN", help="the folder that `make run` wrote to")
    run = Path(parser.parse_args(argv).run)
    try:
        rows = summary_rows(run)
    except KeyError as error:
        raise UsageError(
            f"RUN {run}: holds the output of another version (no {error}); run `make run` again"
        ) from error
    width = max(len(label) for label, _ in rows)
    print("\n".join(f"{label:<{width}}  {text}" for label, text in rows))


if __name__ == "__main__":
    run_command("pipelines.demo.run_summary", main)
