"""Command line: train a classifier on a prepared dataset and export it.

    python -m trainer.task --dataset runs/dataset --output runs/train

Wrong use is found before TensorFlow is imported, and before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pipelines.cli import run_command, start_tensorflow
from trainer.dataset_info import read_dataset_info
from trainer.options import Options, parse_options
from trainer.outputs import check_output, open_output, write_json


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, check everything that can be checked before the work, and run."""
    run(parse_options(argv))


def available_threads() -> int:
    """Cores this process may use, which is also TensorFlow's own default."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(options: Options) -> dict[str, Any]:
    """Train (or continue) and export. Returns the contents of train.json. UsageError before anything is written."""
    info = read_dataset_info(options.dataset)
    train, validation = info.split("train"), info.split("validation")
    claim = check_output(options, info)
    # Results depend on the number of threads, so a continued run keeps the number it was started with.
    threads = claim.earlier["threads"] if claim.earlier else options.threads or available_threads()

    print(
        f"dataset {info.path}: {len(info.classes)} classes, {info.image_size} px, {train.examples} train examples "
        f"({train.originals} originals), {validation.examples} validation",
        flush=True,
    )
    runtime = _start_tensorflow(options, threads)
    from trainer.export import export_model
    from trainer.loop import fit, model_config
    from trainer.strategy import make_strategy
    from trainer.transform import Preprocessing

    strategy = make_strategy(options.strategy, options.batch_size)
    open_output(claim, options, info, threads)
    if claim.earlier:
        print(f"continuing the interrupted run in {claim.path}", flush=True)
    preprocessing = Preprocessing(info)

    def write_history(history):
        write_json(claim.path / "history.json", [asdict(record) for record in history])

    def on_epoch(record, improved, history):
        write_history(history)
        print(
            f"epoch {record.epoch}/{options.epochs}  loss {record.loss:.4f}  val_loss {record.val_loss:.4f}  "
            f"val_balanced_accuracy {record.val_balanced_accuracy:.4f}{' *' if improved else '  '}  "
            f"learning_rate {record.learning_rate:.2e}  {record.images_per_second:.0f} images/s",
            flush=True,
        )

    checkpoints, resumed = fit(options, info, preprocessing, strategy, claim.path, on_epoch)
    history, best = checkpoints.state.history, checkpoints.state.best
    assert best is not None
    # Once more: a run may have been killed between its last checkpoint and this file.
    write_history(history)
    weights = checkpoints.best_weights()
    figures = {"balanced_accuracy": best.val_balanced_accuracy, "loss": best.val_loss, "n": validation.examples}
    seconds = sum(record.seconds for record in history)
    report: dict[str, Any] = {
        "seconds": seconds,
        # Of training alone, which `seconds` is not: that has validation too.
        "images_per_second": len(history) / sum(1 / record.images_per_second for record in history),
        "epochs": len(history),
        "best_epoch": best.epoch,
        "stopped_early": len(history) < options.epochs,
        "resumed": resumed,
        "validation": figures,
        "parameters": sum(weight.size for weight in weights),
        "threads": threads,
        **runtime,
        "replicas": strategy.num_replicas_in_sync,
        "dataset_fingerprint": info.fingerprint,
    }
    write_json(claim.path / "train.json", report)
    model = claim.path / "model"
    export_model(model, info, preprocessing, model_config(options), weights, {"validation": figures})
    print(
        f"best epoch {best.epoch}: validation balanced accuracy {best.val_balanced_accuracy:.4f} on "
        f"{validation.examples} images; {len(history)} epochs in {seconds:.0f} s"
    )
    print(f"model: {model}", flush=True)
    return report


def _start_tensorflow(options: Options, threads: int) -> dict[str, Any]:
    """Import TensorFlow (seconds, hence late) and set what must be set before its first operation."""
    start_tensorflow()
    import keras
    import tensorflow as tf

    if threads != available_threads():
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    keras.utils.set_random_seed(options.seed)
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    return {"tensorflow": tf.__version__, "keras": keras.__version__}


if __name__ == "__main__":
    run_command("trainer.task", main)
