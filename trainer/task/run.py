"""Train a classifier on a prepared dataset and export it.

    python -m trainer.task --dataset runs/dataset --output runs/train

Usage errors are reported before TensorFlow is imported and before anything is written. With several workers
(TF_CONFIG), each worker runs the same command; only the chief uses the output directory.

Exit codes: those of `pipelines.common.cli`, and 75 (EX_TEMPFAIL) when the same command continues the run: after
SIGTERM, which saves first, and when another worker is missing or lost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pipelines.common import console
from pipelines.common.claimed_folder import ClaimedFolder, claimed_folder, require_free
from pipelines.common.cli import EXIT_FAILURE, EXIT_OK, EXIT_RESTART, EXIT_USAGE, UsageError
from pipelines.common.full_disk import disk_full
from pipelines.common.gcs_client import is_gs
from pipelines.common.gcs_folder import UnreachableError
from pipelines.imaging.tensorflow_runtime import start_tensorflow
from trainer.config.options import TrainOptions, same_everywhere
from trainer.data.dataset_info import DatasetInfo, fold_split, read_dataset_info, require_unchanged
from trainer.data.gcs_dataset_cache import GcsDataset
from trainer.data.progressive_resizing import check_sizes, smallest_size
from trainer.distribution.cluster import ALONE, Cluster, check_cluster, read_cluster
from trainer.distribution.coordination import WorkerConnections
from trainer.distribution.preemption import Preemption, RestartError
from trainer.distribution.processes import available_cores
from trainer.task.allocator import keep_freed_memory
from trainer.task.command_line import parse_options
from trainer.task.gcs_run_directory import GcsRunDirectory
from trainer.task.run_directory import RunPlan, check_output, open_output, write_json


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Everything that can be checked beforehand is checked first. The other workers are told how the run ended.

    Args:
        argv: Command-line arguments; None: those of this process.

    Raises:
        UsageError: If an option, the dataset, the output directory or the machine does not allow the run.
    """
    connections = WorkerConnections(_readable_cluster())
    try:
        options = parse_options(argv)
        check_cluster(options.strategy, read_cluster())
        run(options, connections)
    except RestartError as error:
        connections.exit_process(str(error), EXIT_RESTART)
    except UsageError as error:
        if connections.cluster.size > 1:
            connections.give_up(f"error: {error}", EXIT_USAGE)
        raise
    except Exception as error:
        if connections.cluster.size > 1:
            # The other workers wait for this one in TensorFlow, and this process would wait for them when it exits.
            full = disk_full(error)
            if not full:
                console.say_traceback(error)
            connections.give_up(f"failed: {full}" if full else f"failed ({type(error).__name__})", EXIT_FAILURE)
        raise
    return EXIT_OK


def _readable_cluster() -> Cluster:
    """Return the workers of TF_CONFIG; if it cannot be used, which is said later, this one alone."""
    with contextlib.suppress(UsageError):
        return read_cluster() or ALONE
    return ALONE


def available_threads() -> int:
    """Return how many cores this process may use, which is also TensorFlow's default number of threads."""
    return len(available_cores()) or os.cpu_count() or 1


def run(options: TrainOptions, connections: WorkerConnections | None = None) -> dict[str, Any] | None:
    """Train (or continue) a run and, on the chief, export the model.

    Args:
        options: Options of the run.
        connections: Connections to the other workers; None: there are no others.

    Returns:
        The contents of train.json; None on workers other than the chief.

    Raises:
        UsageError: If the run cannot be done as asked; most causes are found before anything is written.
        RestartError: If the same command continues the run, for example after SIGTERM.
    """
    connections = connections or WorkerConnections(ALONE)
    try:
        # Given up last, when nothing is being uploaded any more.
        with contextlib.ExitStack() as at_end:
            if connections.cluster.is_chief and is_gs(options.output):
                with GcsRunDirectory(options.output) as remote:
                    return _run(options, connections, remote, at_end)
            return _run(options, connections, None, at_end)
    except UnreachableError as error:
        raise RestartError(str(error)) from None


def _claim_output(
    options: TrainOptions, info: DatasetInfo, remote: GcsRunDirectory | None, at_end: contextlib.ExitStack
) -> tuple[RunPlan, ClaimedFolder]:
    """Claim the output until the end of the run, and return what the run may do there; see `_run`."""

    def plan() -> RunPlan:
        return remote.plan(options, info) if remote else check_output(options, info)

    require_free(options.output)
    # An output that cannot be used is found before anything is written there.
    plan()
    claimed = at_end.enter_context(claimed_folder(options.output))
    # An earlier run may have gone on until now.
    return plan(), claimed


def _run(
    options: TrainOptions, connections: WorkerConnections, remote: GcsRunDirectory | None, at_end: contextlib.ExitStack
) -> dict[str, Any] | None:
    """Do the work of `run`.

    Args:
        options: Options of the run.
        connections: Connections to the other workers.
        remote: The bucket folder of the output, if it is in a bucket.
        at_end: What is given up at the end of the run.
    """
    cluster = connections.cluster
    preemption = Preemption()
    preemption.install()
    info, dataset, cache = _open_dataset(options)
    if options.fold >= 0:
        info = fold_split(info, options.fold)
    check_sizes(options.progressive, info.image_size)
    if options.backbone:
        start_tensorflow()
        from trainer.network.backbones import check_backbone

        check_backbone(options.backbone)
    train, validation = info.split("train"), info.split("validation")
    plan, claimed = _claim_output(options, info, remote, at_end) if cluster.is_chief else (None, None)
    # Results depend on the number of threads, so a continued run keeps its original number.
    threads = plan.earlier["threads"] if plan and plan.earlier else options.threads or available_threads()

    if cluster.is_chief:
        print(
            f"dataset {info.place}: {len(info.classes)} classes, {info.image_size} px, {train.examples} train examples "
            f"({train.originals} originals), {validation.examples} validation",
            flush=True,
        )
    if dataset and (copied := dataset.copy(("train", "validation"))) and cluster.is_chief:
        print(f"copied {copied} files of it to {info.path}", flush=True)
    if cluster.is_chief:
        console.say("starting TensorFlow", phase="starting")
    runtime = _start_tensorflow(options, threads)
    import keras
    import tensorflow as tf

    from trainer.data.preprocessing import Preprocessing
    from trainer.distribution.strategy import make_strategy
    from trainer.training.checkpoint import EpochRecord, RunState
    from trainer.training.loop import Reporter, WorkerContext, fit
    from trainer.training.progress import EpochProgress

    connections.connect({"dataset": info.fingerprint, **same_everywhere(options)}, options.peer_timeout)
    strategy = make_strategy(options, cluster)
    if options.backbone:
        from trainer.network.backbones import check_fits

        check_fits(options.backbone, smallest_size(options.progressive, info.image_size), options.weights)
    if plan and claimed:
        claimed.require_own()
        open_output(plan, options, info, threads)
        if remote:
            remote.open(plan)
        if plan.earlier:
            print(f"continuing the interrupted run in {plan.place}", flush=True)
    if cluster.size > 1:
        print(f"{cluster.name(cluster.rank)} of {cluster.size} is training", flush=True)
    preprocessing = Preprocessing(info)
    progress = EpochProgress(options.epochs, train.examples)

    def on_epoch(record: EpochRecord, improved: bool, history: list[EpochRecord]) -> None:
        require_unchanged(info)
        # Only the chief, which has a plan, reports.
        write_json(plan.path / "history.json", [asdict(record) for record in history])  # type: ignore[union-attr]
        if remote:
            remote.save()
        progress.on_epoch(record, improved)

    def on_save(state: RunState, steps: int) -> None:
        if remote:
            remote.save()
        progress.on_save(state, steps)

    # Seed only now: retried requests draw their waiting time from Python's generator, as Keras draws its seeds.
    keras.utils.set_random_seed(options.seed)
    if claimed:
        console.say("compiling the training step", phase="compiling")
    reporter = Reporter(progress.on_step, claimed.require_own, on_save, on_epoch) if claimed else Reporter()
    try:
        checkpoints, resumed = fit(
            replace(options, cache=cache),
            info,
            preprocessing,
            strategy,
            plan.path if plan else None,
            reporter,
            WorkerContext(connections, preemption),
        )
    except (tf.errors.DataLossError, tf.errors.NotFoundError) as error:
        require_unchanged(info)
        raise UsageError(f"--dataset {info.place}: a shard is damaged ({error.message}); prepare it again") from None
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        connections.raise_lost_worker((error.message or type(error).__name__).splitlines()[0][:200])
    except RestartError:
        # All workers get here after the same step; none should mistake another's exit for a loss.
        connections.disconnect()
        raise
    if cluster.size > 1:
        print(f"{cluster.name(cluster.rank)} ends with weights {checkpoints.digest()}", flush=True)
    report = None
    if plan and claimed:
        claimed.require_own()
        figures = {"resumed": resumed, "threads": threads, **runtime}
        figures |= {"strategy": type(strategy).__name__, "workers": cluster.size}
        figures |= {"replicas": strategy.num_replicas_in_sync}
        report = _finish(options, info, plan, checkpoints, preprocessing, figures)
        if remote:
            claimed.require_own()
            remote.finish()
        print(f"model: {os.path.join(plan.place, 'model')}", flush=True)
    connections.disconnect()
    return report


def _open_dataset(options: TrainOptions) -> tuple[DatasetInfo, GcsDataset | None, str]:
    """Return the dataset's description, its bucket folder and the --cache value to read it with.

    A dataset in a bucket is not copied yet. For a local dataset the second value is None.
    """
    if not is_gs(options.dataset):
        return read_dataset_info(options.dataset), None, options.cache
    directory = None if options.cache in ("none", "memory") else Path(options.cache)
    dataset = GcsDataset(options.dataset, directory)
    # A copy in a directory is read directly; compressed shards are unpacked into a second copy.
    again = directory is None or dataset.info.compression != "none"
    return dataset.info, dataset, options.cache if again else "none"


def _finish(
    options: TrainOptions,
    info: DatasetInfo,
    plan: RunPlan,
    checkpoints: Any,
    preprocessing: Any,
    runtime: dict[str, Any],
) -> dict[str, Any]:
    """Calibrate the kept weights of a run trained to its end; write history, figures, pictures and model."""
    from trainer.export.fitting import fit_network
    from trainer.export.saved_model import export_model
    from trainer.export.train_images import train_images_of
    from trainer.network.model import build_model, multiply_adds
    from trainer.task.plots import draw_curves, draw_reliability
    from trainer.training.loop import model_config
    from trainer.training.losses import for_photographs, photographed_prior, photographed_shift

    history, kept = checkpoints.state.history, checkpoints.kept_epoch
    # Write it again: an earlier run may have been killed between its last checkpoint and this file.
    write_json(plan.path / "history.json", [asdict(record) for record in history])
    console.say(f"drawing the curves of {len(history)} epochs")
    draw_curves(history, kept.epoch, plan.path / "curves.png")
    originals = info.split("validation").originals
    console.say(f"calibrating on {originals} validation originals, eight views of each")
    weights = for_photographs(checkpoints.kept_weights(), photographed_shift(info, options.loss, options.class_weights))
    config = model_config(options, preprocessing)
    fitted = fit_network(info, preprocessing, config, weights, photographed_prior(info))
    panels = {"before calibration": fitted.before, f"after (temperature {fitted.temperature:g})": fitted.after}
    draw_reliability(panels, plan.path / "reliability.png")
    n = info.split("validation").examples
    figures = {"balanced_accuracy": kept.val_balanced_accuracy, "loss": kept.val_loss, "n": n}
    seconds = sum(record.seconds for record in history)
    report: dict[str, Any] = {
        "seconds": seconds,
        # Training only; `seconds` includes validation.
        "images_per_second": len(history) / sum(1 / record.images_per_second for record in history),
        "epochs": len(history),
        "epoch": kept.epoch,
        "best_epoch": checkpoints.state.best.epoch,
        "stopped_early": len(history) < options.epochs,
        "validation": figures,
        "calibration": fitted.calibration,
        "operating_points": fitted.operating_points,
        "parameters": sum(weight.size for weight in weights),
        "multiply_adds": multiply_adds(build_model(config, info.image_size, len(info.classes))),
        **runtime,
        "dataset_fingerprint": info.fingerprint,
    }
    write_json(plan.path / "train.json", report)
    console.say("exporting the model")
    export_model(
        plan.path / "model",
        info,
        preprocessing,
        config,
        weights,
        {"validation": figures},
        fitted.calibration,
        fitted.operating_points,
        train_images_of(info),
    )
    print(
        f"{options.keep} epoch {kept.epoch}: validation balanced accuracy {kept.val_balanced_accuracy:.4f} on "
        f"{n} images; {len(history)} epochs in {seconds:.0f} s"
    )
    return report


def _start_tensorflow(options: TrainOptions, threads: int) -> dict[str, Any]:
    """Import TensorFlow (takes seconds, hence late) and configure what must be set before its first operation."""
    keep_freed_memory()
    start_tensorflow()
    import keras
    import tensorflow as tf

    if threads != available_threads():
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    if options.deterministic:
        tf.config.experimental.enable_op_determinism()
    return {"tensorflow": tf.__version__, "keras": keras.__version__}
