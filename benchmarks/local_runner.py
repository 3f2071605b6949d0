"""The local runners compared: `python -m benchmarks.local_runner [--scales 3 30] [--rounds 3]`.

Whole commands, prepare and score, on synthetic archives of two sizes. The candidates take turns within a round and each
round starts with another one, so that a machine that others use is as slow for one as for the next; ratios are taken
within a round, to the default. The table has medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.scoring import Cost, measure
from pipelines.beam.runner import DEFAULT_RUNNER
from pipelines.demo.sample import write_sample

# The first is the default, to which the others are compared.
CANDIDATES = {
    f"`{DEFAULT_RUNNER}`, in memory (the default)": (),
    "`DirectRunner`": ("--runner", "DirectRunner"),
    f"`{DEFAULT_RUNNER}`, two processes": ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2"),
}
# Of the model that scores; what matters here is the job around it.
_IMAGE_SIZE = 64


def _python(module: str, *arguments: object) -> Cost:
    return measure([sys.executable, "-m", module, *map(str, arguments)])


class Bench:
    """One archive, its dataset's model, and a place for outputs that are thrown away."""

    def __init__(self, work: Path, scale: float):
        self._output = work / "output"
        self._sample = work / f"sample-{scale}"
        self.images = write_sample(self._sample, seed=0, scale=scale)["counts"]["files"]
        self._model = work / "train" / "model"
        if not self._model.is_dir():
            self.run("prepare", ())
            shutil.move(self._output, work / "dataset")
            options = ("--epochs", 1, "--width", 0.25, "--depth", 1)
            _python("trainer.task", "--dataset", work / "dataset", "--output", work / "train", *options)

    def run(self, job: str, options: Sequence[str]) -> Cost:
        """One command, from start to end."""
        shutil.rmtree(self._output, ignore_errors=True)
        more: tuple[object, ...] = ("--model", self._model)
        if job == "prepare":
            more = ("--metadata", self._sample / "metadata.csv", "--image_size", _IMAGE_SIZE)
        return _python(
            f"pipelines.{job}", "--input", self._sample / "images", "--output", self._output, *more, *options
        )


def _report(job: str, images: int, rounds: Sequence[dict[str, Cost]]) -> None:
    default = next(iter(CANDIDATES))
    for name in CANDIDATES:
        costs = [costs[name] for costs in rounds]
        pairs = [(costs[name], costs[default]) for costs in rounds]
        cells = [
            f"{statistics.median(cost.seconds for cost in costs):.1f}",
            f"{statistics.median(cost.seconds / first.seconds for cost, first in pairs):.2f}",
            f"{statistics.median(cost.cpu_seconds for cost in costs):.1f}",
            f"{statistics.median(cost.cpu_seconds / first.cpu_seconds for cost, first in pairs):.2f}",
            f"{statistics.median(cost.memory for cost in costs):.0f}",
            f"{statistics.median(cost.memory / first.memory for cost, first in pairs):.2f}",
        ]
        print(f"| {job} | {images:,} | {name} | {' | '.join(cells)} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scales", type=float, nargs="+", default=[3, 30], help="sizes; 1 is 340 images")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    names = list(CANDIDATES)
    print("| job | images | runner | s | ratio | cpu, s | ratio | peak, MiB | ratio |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for scale in arguments.scales:
            bench = Bench(Path(folder), scale)
            for job in ("prepare", "score"):
                rounds = []
                for index in range(arguments.rounds):
                    order = [names[(index + place) % len(names)] for place in range(len(names))]
                    rounds.append({name: bench.run(job, CANDIDATES[name]) for name in order})
                    print(f"{job} {bench.images}, round {index + 1}, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
                _report(job, bench.images, rounds)


if __name__ == "__main__":
    main()
