"""How good is a model on images it has not seen? `python -m trainer.evaluate`.

    OUT/confusion_matrix.png    counts, coloured by each true class's shares
    OUT/predictions.parquet     one row per image: ids, label, predicted class, one probability per class
    OUT/evaluation.json         every figure with its n and 95 % interval, and what was evaluated; written last

Only original photographs count: the augmented copies of the train split are left out.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.cli import ArgumentParser, UsageError, run_command, start_tensorflow
from pipelines.gcs_transfer import GcsFolder, UnreachableError, is_gs
from trainer.dataset_info import DatasetInfo, read_dataset_info
from trainer.evaluated_model import ModelInfo, copied_model, read_model_info
from trainer.options import number, require_supported
from trainer.staging import RemoteDataset

if TYPE_CHECKING:
    import numpy as np

SCHEMA_VERSION = 1
SUMMARY, PREDICTIONS, PICTURE = "evaluation.json", "predictions.parquet", "confusion_matrix.png"
_OURS = (SUMMARY, PREDICTIONS, PICTURE)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What one evaluation is told; the command line's help says what each means."""

    dataset: str | Path
    model: str | Path
    output: str | Path
    split: str = "test"
    batch_size: int = 64
    bootstrap: int = 1000
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class Predictions:
    """One row per original image, in file order. `labels` int64 [n], `probabilities` float32 [n, C]."""

    source_id: list[str]
    sha256: list[str]
    lesion_id: list[str]
    group_id: list[str]
    labels: np.ndarray
    probabilities: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Checked:
    """What an evaluation works on. `dataset`, `output`: of those that are in a bucket."""

    info: DatasetInfo
    model: ModelInfo
    dataset: RemoteDataset | None
    output: GcsFolder | None


def check(options: Options, temporary: Path) -> Checked:
    """All that can be known to be wrong before TensorFlow is loaded. Raises UsageError; writes no output.

    temporary: an empty folder; a model in a bucket is copied to it.
    """
    dataset = RemoteDataset(str(options.dataset)) if is_gs(options.dataset) else None
    info = dataset.info if dataset else read_dataset_info(options.dataset)
    if not info.split(options.split).originals:
        raise UsageError(f"--split {options.split}: holds no original photograph")
    model = read_model_info(copied_model(options.model, temporary), options.model)
    if model.classes != info.classes:
        differing = sorted(set(model.classes) ^ set(info.classes)) or ["the same ones in another order"]
        raise UsageError(
            f"--model {options.model}: its {len(model.classes)} classes are not the {len(info.classes)} of --dataset "
            f"{options.dataset} (difference: {', '.join(differing)}); evaluate on a dataset prepared with its classes"
        )
    output = GcsFolder(str(options.output), "--output") if is_gs(options.output) else None
    if output:
        _require_free(output.list(), options)
        output.require_writable()
    else:
        _check_directory(options)
    return Checked(info, model, dataset, output)


def _check_directory(options: Options) -> None:
    """UsageError unless the evaluation can be written to --output, a directory."""
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; name a directory")
    _require_free({path.name for path in output.iterdir()} if output.is_dir() else set(), options)
    home = next(path for path in (output, *output.absolute().parents) if path.exists())
    if not os.access(home, os.W_OK | os.X_OK):
        raise UsageError(f"--output {output} cannot be written: no permission in {home}")


def _require_free(found: set[str], options: Options) -> None:
    """UsageError if what is in --output must be kept."""
    # Without the summary, which comes last, our files are what an interrupted run left behind.
    unfinished = SUMMARY not in found and found <= {*_OURS, *map(_partial_name, _OURS)}
    if found and not unfinished and not options.overwrite:
        raise UsageError(f"--output {options.output} is not empty; name another directory or add --overwrite")


def _partial_name(name: str) -> str:
    return f".{name}.partial"


def infer(info: DatasetInfo, model: ModelInfo, split: str, batch_size: int) -> Predictions:
    """Run the model's `records` signature over the originals of a split, in file order.

    `seconds` counts reading and inference, not loading the model nor its first call. Raises UsageError for a model
    that cannot be loaded or used, and for a dataset whose files are damaged or do not hold what dataset.json says.
    """
    start_tensorflow()
    import numpy as np
    import tensorflow as tf

    from trainer.dataset import evaluation_batches

    where = f"--model {model.place}"
    try:
        loaded = tf.saved_model.load(str(model.path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UsageError(f"{where}: cannot be loaded ({_first_line(error)}); train it again") from None
    if "records" not in loaded.signatures:
        raise UsageError(f"{where}: has no signature 'records'; export it with python -m trainer.task")
    classify = loaded.signatures["records"]

    def probabilities_of(encoded: Any) -> np.ndarray:
        return classify(image_encoded=tf.constant(encoded))["probabilities"].numpy()

    text: dict[str, list[str]] = {
        key: [] for key in ("image/source_id", "image/key/sha256", "image/lesion_id", "image/group_id")
    }
    labels: list[np.ndarray] = []
    probabilities: list[np.ndarray] = []
    try:
        # The first call sets the graph up and would count against the first batch.
        for batch in evaluation_batches(info, split, 1).take(1):
            probabilities_of(batch["image/encoded"].numpy())
        started = time.perf_counter()
        for batch in evaluation_batches(info, split, batch_size):
            values = {key: value.numpy() for key, value in batch.items()}
            original = values["image/augmentation/copy"] == 0
            if not original.any():
                continue
            probabilities.append(probabilities_of(values["image/encoded"][original]))
            labels.append(values["image/class/label"][original])
            for key, column in text.items():
                column += [value.decode() for value in values[key][original]]
        seconds = time.perf_counter() - started
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        raise UsageError(
            f"--dataset {info.place}: the {split} split cannot be read ({_first_line(error)}); prepare it again"
        ) from None

    read, expected = sum(map(len, labels)), info.split(split).originals
    if read != expected:
        raise UsageError(
            f"--dataset {info.place}: the {split} split holds {read} originals, dataset.json says {expected}; "
            "prepare it again"
        )
    scores = np.concatenate(probabilities)
    if scores.shape != (read, len(model.classes)) or not np.isfinite(scores).all():
        raise UsageError(f"{where}: does not give {len(model.classes)} finite probabilities per image; train it again")
    return Predictions(
        source_id=text["image/source_id"],
        sha256=text["image/key/sha256"],
        lesion_id=text["image/lesion_id"],
        group_id=text["image/group_id"],
        labels=np.concatenate(labels),
        probabilities=scores,
        seconds=seconds,
    )


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]


def write_predictions(predictions: Predictions, predicted: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Parquet, one row per image, in file order.

    Columns: source_id, sha256, lesion_id, group_id, label (int64), class, top_class (null where two classes tie for
    the first place), and one `probability_<class>` (float32) per class in label order, spaces as underscores: the
    names that pipelines.score uses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        "source_id": predictions.source_id,
        "sha256": predictions.sha256,
        "lesion_id": predictions.lesion_id,
        "group_id": predictions.group_id,
        "label": pa.array(predictions.labels, pa.int64()),
        "class": [classes[label] for label in predictions.labels],
        "top_class": pa.array([classes[index] if index >= 0 else None for index in predicted], pa.string()),
    }
    for index, name in enumerate(classes):
        columns[f"probability_{name.replace(' ', '_')}"] = pa.array(predictions.probabilities[:, index], pa.float32())
    pq.write_table(pa.table(columns), path)


def run(options: Options) -> dict[str, Any]:
    """Evaluate, write the three files and print the table. Returns what evaluation.json says."""
    with tempfile.TemporaryDirectory(prefix="lesions-evaluate-") as temporary:
        try:
            return _run(options, Path(temporary))
        except UnreachableError as error:
            raise UsageError(str(error)) from None


def _run(options: Options, temporary: Path) -> dict[str, Any]:
    checked = check(options, temporary)
    info, model = checked.info, checked.model
    if model.dataset_fingerprint != info.fingerprint:
        print(
            f"warning: the model was trained on another dataset ({model.dataset_fingerprint[:12]}, not "
            f"{info.fingerprint[:12]}): images of this {options.split} split may have been among its training images, "
            "and then these figures are too good",
            file=sys.stderr,
        )
    if checked.dataset:
        checked.dataset.copy([options.split], graphs=False)
    predictions = infer(info, model, options.split, options.batch_size)

    from trainer import metrics
    from trainer.evaluation_output import draw_confusion_matrix, format_table

    figures = metrics.evaluate(
        predictions.labels,
        predictions.probabilities,
        predictions.group_id,
        info.classes,
        model.malignant_classes,
        bootstrap=options.bootstrap,
        seed=options.seed,
    )
    result = {
        "schema_version": SCHEMA_VERSION,
        "split": options.split,
        "dataset": {"path": str(options.dataset), "fingerprint": info.fingerprint},
        "model": {
            "path": str(options.model),
            "fingerprint": model.fingerprint,
            "dataset_fingerprint": model.dataset_fingerprint,
        },
        "trained_on_this_dataset": model.dataset_fingerprint == info.fingerprint,
        "classes": list(info.classes),
        "malignant_classes": list(model.malignant_classes),
        "images": len(predictions.labels),
        "seconds": round(predictions.seconds, 3),
        "images_per_second": round(len(predictions.labels) / max(predictions.seconds, 1e-9), 1),
        "figures": figures,
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in asdict(options).items()},
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("tensorflow", "numpy", "scikit-learn", "isic-challenge-scoring")
        },
    }

    output = temporary / "output" if checked.output else Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    # An earlier summary must not stand beside new predictions, should this run be interrupted.
    if checked.output:
        checked.output.delete({SUMMARY} & checked.output.names())
    for name in _OURS:
        (output / name).unlink(missing_ok=True)
    partial = {name: output / _partial_name(name) for name in _OURS}
    title = f"{options.split} split, balanced accuracy {figures['balanced_accuracy']['value']:.3f}"
    draw_confusion_matrix(figures["confusion_matrix"], info.classes, title, partial[PICTURE])
    write_predictions(predictions, metrics.predict(predictions.probabilities), info.classes, partial[PREDICTIONS])
    text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False)
    partial[SUMMARY].write_text(text + "\n", encoding="utf-8")
    for name in (PICTURE, PREDICTIONS, SUMMARY):
        os.replace(partial[name], output / name)
    if checked.output:
        checked.output.upload({name: output / name for name in _OURS}, last=[SUMMARY])

    print(format_table(figures))
    summary = os.path.join(options.output, SUMMARY)
    print(f"\n{result['images']} images, {result['images_per_second']} images/s; figures in {summary}")
    return result


def parse_options(argv: Sequence[str] | None = None) -> Options:
    """Options from the command line (`sys.argv` if None). Raises UsageError for a value that cannot be."""
    parser = ArgumentParser(
        prog="python -m trainer.evaluate",
        description="Evaluate an exported model on a split of a prepared dataset: balanced accuracy, sensitivity,\n"
        "specificity, AUC and average precision per class, melanoma sensitivity at 90 % specificity, each\n"
        "with its number of images and a 95 % interval (bootstrap over lesions).",
        epilog="Writes evaluation.json, predictions.parquet and confusion_matrix.png. Any DIR may be on gs://.\n"
        "Example: python -m trainer.evaluate --dataset runs/dataset --model runs/train/model --output runs/evaluation",
    )
    parser.add_argument("--dataset", required=True, metavar="DIR", help="the --output of pipelines.prepare")
    parser.add_argument("--model", required=True, metavar="DIR", help="OUTPUT/model of trainer.task")
    parser.add_argument("--output", required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--split", default="test", choices=("train", "validation", "test"), help="which images")
    parser.add_argument(
        "--batch_size", type=number(int, 1), default=64, metavar="N", help="images per call of the model"
    )
    parser.add_argument(
        "--bootstrap", type=number(int, 0, 1_000_000), default=1000, metavar="N", help="resamples; 0: no intervals"
    )
    parser.add_argument("--seed", type=number(int, 0), default=0, metavar="N", help="of the resamples")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier evaluation in --output; other files there are kept"
    )
    options = Options(**vars(parser.parse_args(argv)))
    for name in ("dataset", "model", "output"):
        require_supported(f"--{name}", getattr(options, name))
    return options


def main(argv: Sequence[str] | None = None) -> None:
    run(parse_options(argv))


if __name__ == "__main__":
    run_command("trainer.evaluate", main)
