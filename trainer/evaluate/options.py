"""Command-line options of `trainer.evaluate`, and the checks that need no TensorFlow."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.common.argument_parser import ArgumentParser, model_folder
from pipelines.common.claimed_folder import without_claim
from pipelines.common.cli import UsageError
from pipelines.domain.model_files import add_model_fingerprint
from pipelines.domain.model_info import ModelInfo, require_fingerprints
from trainer.config.options import number, require_supported
from trainer.data.dataset_info import DatasetInfo, fold_split, read_dataset_info
from trainer.evaluate.metadata_tables import ImageFacts, has_subgroup_columns, read_image_facts
from trainer.evaluate.stored_predictions import StoredPredictions, read_stored_predictions
from trainer.export.loaded_model import read_model_info, require_same_classes

# Of evaluation.json.
SCHEMA_VERSION = 1
SUMMARY, PREDICTIONS, PICTURE = "evaluation.json", "predictions.parquet", "confusion_matrix.png"
PAGE, TEXT = "report.html", "report.md"
# In the order in which they are written. The summary comes last: its presence means that the others are complete.
OURS = (PICTURE, PREDICTIONS, TEXT, PAGE, SUMMARY)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of one evaluation; the command line's help explains each."""

    dataset: str | None = None
    model: str | None = None
    model_fingerprint: tuple[str, ...] = ()
    output: str
    split: str = "test"
    fold: int | None = None
    predictions: str | None = None
    labels: str | None = None
    metadata: tuple[str, ...] = ()
    tta: bool = False
    batch_size: int = 64
    bootstrap: int = 1000
    seed: int = 0
    allow_seen: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class EvaluationInputs:
    """Inputs that the options name, read and checked; None where an option names nothing.

    With `--fold`, `dataset` is the result of `fold_split`, and `split` is its validation split.
    """

    dataset: DatasetInfo | None
    split: str  # of the dataset
    model: ModelInfo | None
    stored: StoredPredictions | None
    facts: dict[str, ImageFacts]  # by image id
    metadata: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the dataset, or of the scores if there is no dataset."""
        if self.dataset:
            return self.dataset.classes
        assert self.stored is not None
        return self.stored.classes


def read_evaluation_inputs(options: EvaluateOptions, copied: DatasetInfo | None = None) -> EvaluationInputs:
    """Read and check all inputs before TensorFlow is loaded; write nothing.

    Args:
        options: Their places are on this machine.
        copied: The description of a dataset that lies in a bucket, in place of `options.dataset`.

    Raises:
        UsageError: The options contradict each other, an input is missing, damaged or does not fit the others, or the
            output cannot be written.
    """
    _require_combination(options)
    dataset, split = copied, options.split
    if options.dataset and not dataset:
        dataset = read_dataset_info(options.dataset)
    if dataset and options.fold is not None:
        dataset, split = fold_split(dataset, options.fold), "validation"
    if dataset and not dataset.split(split).originals:
        raise UsageError(f"--split {split}: holds no original photograph")
    model = read_model_info(Path(options.model)) if options.model else None
    require_fingerprints([model] if model else [], options.model_fingerprint)
    if model and dataset:
        require_same_classes(model, dataset.classes, f"--dataset {options.dataset}")
    stored = None
    if options.predictions:
        described_by = dataset or model
        stored = read_stored_predictions(Path(options.predictions), described_by.classes if described_by else None)
        if model and not dataset and stored.makers and model.fingerprint not in stored.makers:
            raise UsageError(
                f"--model {options.model}: did not make these predictions ({model.fingerprint[:12]}, not "
                f"{stored.makers[0][:12]}); name the model that did, or leave it out"
            )
        if not dataset and not options.labels and stored.labels is None:
            raise UsageError(
                f"--predictions {options.predictions}: says of no image what it is; add --dataset DIR or --labels CSV"
            )
    metadata = options.metadata
    if options.labels and has_subgroup_columns(Path(options.labels), "--labels"):
        metadata = (*metadata, options.labels)
    facts = read_image_facts(list(map(Path, metadata)))
    require_output(options)
    return EvaluationInputs(dataset, split, model, stored, facts, metadata)


def _require_combination(options: EvaluateOptions) -> None:
    """Raise UsageError unless the options name images, labels and probabilities, each once."""
    if options.predictions is None:
        for name in ("dataset", "model"):
            if getattr(options, name) is None:
                raise UsageError(f"--{name} is needed, unless --predictions names probabilities made before")
        if options.labels:
            raise UsageError(f"--labels {options.labels}: goes with --predictions; a dataset has its own labels")
        return
    if options.fold is not None and not options.dataset:
        raise UsageError(f"--fold {options.fold}: is a part of a dataset; add --dataset DIR")
    if options.labels and options.dataset:
        raise UsageError(f"--labels {options.labels}: the labels are those of --dataset {options.dataset}; name one")
    if options.tta:
        raise UsageError("--tta: with --predictions the model is not run; leave it out")


def require_output(options: EvaluateOptions) -> None:
    """Raise UsageError unless the results can be written to `--output`."""
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; name a directory")
    if output.is_dir():
        require_free(without_claim({path.name for path in output.iterdir()}, output), options)
    home = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not os.access(home, os.W_OK | os.X_OK):
        raise UsageError(f"--output {output} cannot be written: no permission in {home}")


def require_free(found: set[str], options: EvaluateOptions) -> None:
    """Raise UsageError if `--output` holds files that must be kept.

    Args:
        found: The names of the files in `--output`.
        options: `overwrite` allows any files; `output` is named in the message.
    """
    # Without the summary, which is written last, our files are leftovers of an interrupted run.
    unfinished = SUMMARY not in found and found <= {*OURS, *map(partial_name, OURS)}
    if found and not unfinished and not options.overwrite:
        raise UsageError(f"--output {options.output} is not empty; name another directory or add --overwrite")


def partial_name(name: str) -> str:
    """Return the name that a file has until it is complete."""
    return f".{name}.partial"


# What `--help` shows.
_FIRST = ("dataset", "model", "split", "fold", "predictions", "labels", "metadata", "tta", "allow_seen", "overwrite")


def parse_options(argv: Sequence[str] | None = None) -> EvaluateOptions:
    """Parse the command line.

    Args:
        argv: The arguments; `sys.argv[1:]` if None.

    Raises:
        UsageError: A value is not allowed.
    """
    parser = ArgumentParser(
        prog="python -m trainer.evaluate",
        description="Evaluate an exported model on a split of a prepared dataset, or probabilities that were made\n"
        "before on images whose labels are known: balanced accuracy, sensitivity, specificity, AUC and average\n"
        "precision per class, melanoma sensitivity at 90 % specificity, subgroups, each with its number of\n"
        "images and a 95 % interval (bootstrap over lesions); calibration and the worst mistakes.",
        epilog="Writes report.html, report.md, evaluation.json, predictions.parquet, confusion_matrix.png. Any DIR,\n"
        "PATH or CSV may be on gs://. Examples:\n"
        "python -m trainer.evaluate --dataset runs/dataset --model runs/train/model --output runs/evaluation\n"
        "python -m trainer.evaluate --predictions runs/scores --labels ground_truth.csv --output runs/evaluation",
        first=_FIRST,
    )
    parser.add_argument("--dataset", metavar="DIR", help="the --output of pipelines.prepare")
    parser.add_argument("--model", type=model_folder, metavar="DIR", help="OUTPUT/model of trainer.task")
    add_model_fingerprint(parser)
    parser.add_argument("--output", required=True, metavar="DIR", help="directory to write")
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--split", default="test", choices=("train", "validation", "test"), help="which images")
    images.add_argument(
        "--fold",
        type=number(int, 0),
        metavar="K",
        help="instead of a split: this fold of a train split prepared with --folds, for a model trained with --fold K",
    )
    parser.add_argument(
        "--predictions",
        metavar="PATH",
        help="instead of running a model: Parquet of pipelines.score, or predictions.parquet of an evaluation; a file "
        "or a folder of them. With --dataset or --labels, which those of an evaluation do not need; --model says which "
        "images it was trained on, its thresholds are tried, and beside --dataset it draws maps of the worst mistakes",
    )
    parser.add_argument(
        "--labels",
        metavar="CSV",
        help="with --predictions: what the images are; a column of ids and a class, an ISIC ground truth, or metadata "
        "of the archive or HAM10000",
    )
    parser.add_argument(
        "--metadata",
        action="append",
        default=[],
        metavar="CSV",
        help="age, sex and body site by image id, for figures of subgroups; as the ISIC archive or HAM10000 write it; "
        "may be repeated",
    )
    parser.add_argument(
        "--tta", action="store_true", help="probabilities are means over the eight flips and quarter turns"
    )
    parser.add_argument(
        "--batch_size", type=number(int, 1), default=64, metavar="N", help="images per call of the model"
    )
    parser.add_argument(
        "--bootstrap", type=number(int, 0, 1_000_000), default=1000, metavar="N", help="resamples; 0: no intervals"
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the resamples")
    parser.add_argument(
        "--allow_seen",
        action="store_true",
        help="evaluate on images that the model was trained on too; the report says that there are some",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier evaluation in --output; other files there are kept"
    )
    values: argparse.Namespace = parser.parse_args(argv)
    lists = {name: tuple(getattr(values, name)) for name in ("model_fingerprint", "metadata")}
    options = EvaluateOptions(**{**vars(values), **lists})
    for name in ("dataset", "model", "output", "predictions", "labels"):
        if (place := getattr(options, name)) is not None:
            require_supported(f"--{name}", place)
    for place in options.metadata:
        require_supported("--metadata", place)
    return options
