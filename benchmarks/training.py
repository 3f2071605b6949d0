"""Where training time goes: `python -m benchmarks.training --dataset DIR [--config FILE] [--steps N] [--rounds N]`.

Examples per second, on this machine, of
    input            the training input alone, decoded and augmented
    bare step        a compiled train step (tf.function, no strategy, no loop of ours) on one fixed batch
    loop, fixed      our loop over strategy.run on the same fixed batch: what strategy and loop cost
    one_device       the same loop fed by the input
    mirrored         the same on two logical CPUs of this process
    two workers      two processes, a core each, connected by TF_CONFIG

Every round measures all of them once, in processes of their own where they need it; the table has medians, and ratios
of one round are compared before the median is taken, because machines are shared. For input and bare step it also has
the processor time of an image, which says more on a machine that others use too. `--config` takes a recipe of
`trainer.task`; images have the dataset's size, whatever the recipe's `progressive` says.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from trainer.task.command_line import parse_options

WARM_UP = 3
MILLISECONDS = "ms"


def per_second(call: Callable[[], object], examples: int, count: int) -> tuple[float, float]:
    """Return the examples per second, and the milliseconds of processor time of an example."""
    for _ in range(WARM_UP):
        call()
    started, used = time.perf_counter(), time.process_time()
    for _ in range(count):
        call()
    used, seconds = time.process_time() - used, time.perf_counter() - started
    return examples * count / seconds, 1000 * used / (examples * count)


def measure_here(kind: str, recipe: Sequence[str], steps: int) -> dict[str, float]:
    """The figures of one process: `single` has input, bare step, loop and one_device; `mirrored` has itself."""
    import tensorflow as tf

    # As trainer.task does unless told otherwise.
    tf.config.experimental.enable_op_determinism()
    if kind == "mirrored":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    from trainer.data.dataset_info import read_dataset_info
    from trainer.data.input_pipeline import Batching, train_stream
    from trainer.data.preprocessing import Preprocessing
    from trainer.data.record_reader import RecordReader
    from trainer.distribution.preemption import Preemption
    from trainer.distribution.strategy import make_strategy
    from trainer.network.model import build_model, precision
    from trainer.training.checkpoint import RunState
    from trainer.training.loop import Reporter, model_config, train_epoch
    from trainer.training.losses import class_log_priors, class_weights, make_loss, smoothing_of, targets
    from trainer.training.optimizer import make_optimizer
    from trainer.training.steps import make_train_step

    tf.random.set_seed(0)
    strategy_name = "mirrored" if kind == "mirrored" else "one_device"
    options = parse_options([*recipe, "--output=none", f"--strategy={strategy_name}"])
    info, batch_size = read_dataset_info(options.dataset), options.batch_size
    records, preprocessing = RecordReader(info, info.split("train"), "none"), Preprocessing(info)
    strategy = make_strategy(options)
    log_priors = class_log_priors(info)
    loss_of = make_loss(options.loss, log_priors)
    smoothing = smoothing_of(options.loss, options.label_smoothing, log_priors)

    def network() -> Any:
        replicas = strategy.num_replicas_in_sync
        with precision(options.mixed_precision):
            model = build_model(model_config(options, preprocessing), None, len(info.classes), replicas > 1)
            return model, make_optimizer(options, 1000, model)

    def loop_over(batches: Iterator[Any]) -> Callable[..., float]:
        """Our loop, warmed up; each call gives the rate of so many steps."""
        with strategy.scope():
            model, optimizer = network()
        weights = class_weights(info, "none")
        step = make_train_step(strategy, model, optimizer, loss_of, weights, smoothing, batch_size, options.clip_norm)

        def rate(count: int = steps) -> float:
            started = time.perf_counter()
            train_epoch(step, batches, count, 0, RunState(), Preemption(), lambda: None, Reporter())
            return batch_size * count / (time.perf_counter() - started)

        rate(WARM_UP)
        return rate

    def distributed() -> Iterator[Any]:
        def stream(context: tf.distribute.InputContext) -> tf.data.Dataset:
            divided = Batching.of_pipeline(context, batch_size, options.accumulate)
            return train_stream(records, preprocessing, divided, 0, 0)

        return iter(strategy.distribute_datasets_from_function(stream))

    if kind == "mirrored":
        return {"mirrored": loop_over(distributed())()}

    stream = iter(train_stream(records, preprocessing, Batching(batch_size), 0, 0))
    batch = next(stream)
    figures = {}
    figures["input"], figures[f"{MILLISECONDS} input"] = per_second(lambda: next(stream), batch_size, steps)

    model, optimizer = network()

    @tf.function
    def bare(batch: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = model(batch["image"], training=True)
            target = targets(batch["label"], batch["partner"], batch["share"], smoothing)
            losses = batch["weight"] * loss_of(target, logits)
            loss = tf.reduce_sum(losses) * (1.0 / batch_size)
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, options.clip_norm)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    # In turns, so that a slow moment does not fall on one of them alone.
    fixed = loop_over(repeat(batch))
    bare_rates, loop_rates = [], []
    for _ in range(3):
        bare_rates.append(per_second(lambda: bare(batch).numpy(), batch_size, steps // 3))
        loop_rates.append(fixed(steps // 3))
    figures["bare step"], figures[f"{MILLISECONDS} bare step"] = map(statistics.mean, zip(*bare_rates, strict=True))
    figures["loop, fixed"] = statistics.mean(loop_rates)
    figures["one_device"] = loop_over(distributed())()
    return figures


def two_workers(recipe: Sequence[str]) -> float:
    """Of the second epoch, from what the run itself reports; the first has the tracing of graphs."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        command = [sys.executable, "-m", "trainer.distribution.local_cluster", "--workers=2", "--", *recipe]
        command += [f"--output={output}", "--epochs=2", "--progressive="]
        subprocess.run(command, check=True, capture_output=True)
        return json.loads((output / "history.json").read_text())[-1]["images_per_second"]


def recipe_of(arguments: argparse.Namespace) -> list[str]:
    """Return the arguments of `trainer.task` that are the same in all measurements."""
    chosen = {name: getattr(arguments, name) for name in ("dataset", "config", "batch_size")}
    return [f"--{name}={value}" for name, value in chosen.items() if value]


def in_process(kind: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.training", *recipe_of(arguments), f"--only={kind}"]
    command.append(f"--steps={arguments.steps}")
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--config", help="recipe; by default the trainer's own defaults")
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=30, help="batches per figure and round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=("single", "mirrored"), help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.only:
        print(json.dumps(measure_here(arguments.only, recipe_of(arguments), arguments.steps)))
        return
    rounds = []
    for _ in range(arguments.rounds):
        figures = in_process("single", arguments) | in_process("mirrored", arguments)
        figures["two workers"] = two_workers(recipe_of(arguments))
        rounds.append(figures)
        print(figures, file=sys.stderr, flush=True)
    print(f"| images of {arguments.batch_size} a step | images/s | of the bare step | cpu, ms/image |")
    print("| --- | ---: | ---: | ---: |")
    for name in [name for name in rounds[0] if not name.startswith(MILLISECONDS)]:
        rate = statistics.median(figures[name] for figures in rounds)
        ratio = statistics.median(figures[name] / figures["bare step"] for figures in rounds)
        used = [figures[key] for figures in rounds if (key := f"{MILLISECONDS} {name}") in figures]
        print(f"| {name} | {rate:.0f} | {ratio:.2f} | {f'{statistics.median(used):.2f}' if used else ''} |")


if __name__ == "__main__":
    main()
