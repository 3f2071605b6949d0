"""Scoring against other ways to do it: `python -m benchmarks.scoring --images DIR --model DIR [--rounds N]`.

Every figure is of a whole command in a process of its own, on links to the same files and with the same exported model
(`benchmarks.scoring_rivals` says what the others do). The contestants take turns within a round, so that a machine that
others use is as slow for one as for the next, and a round gives ratios; the table has medians over the rounds. The
steady speed leaves out the start: a round scores an archive and one three times as large, and what the other two thirds
took is what counts.

--files takes that many links instead of one to each image. --settings times our job with other options instead;
--tenfold compares its memory for the archive and ten of it.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

OURS = "pipelines.score"
LABELS = {
    OURS: "`pipelines.score`",
    "tfdata": "tf.data: `standardize` of each image, `classify` of batches",
    "tfdata_batch": "tf.data: batches to `serving_default`",
    "keras": "`model.predict` on `image_dataset_from_directory`",
    "beam": "Beam's example: one Map an image, arrays, stock handler",
}
SETTINGS: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "--batch_size 8": ("--batch_size", "8"),
    "--batch_size 16": ("--batch_size", "16"),
    "--batch_size 64": ("--batch_size", "64"),
    "--batch_size 128": ("--batch_size", "128"),
    "--threads 1": ("--threads", "1"),
    "--threads 4": ("--threads", "4"),
    "two worker processes": ("--direct_running_mode", "multi_processing", "--direct_num_workers", "2"),
    "one intra-op thread": (),
    "--tta": ("--tta",),
    "two models of one dataset": (),
}
ENVIRONMENT = {"one intra-op thread": {"TF_NUM_INTRAOP_THREADS": "1"}}
_SAMPLE_SECONDS = 0.5


class Cost(NamedTuple):
    """What a command took: wall and processor seconds; memory in MiB, of all its processes together."""

    seconds: float
    cpu_seconds: float
    memory: float


def _tree(root: int) -> list[int]:
    """A process and all below it."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has just ended
                found += map(int, task.read_text().split())
    return found


def _resident(pids: Sequence[int]) -> float:
    """MiB in memory; what processes share counts once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended, and perhaps nobody has asked yet how
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


class _Watch(threading.Thread):
    """Samples the memory of a process and its children until it ends."""

    def __init__(self, root: int):
        super().__init__(daemon=True)
        self._root = root
        self._over = threading.Event()
        self.most = 0.0

    def run(self) -> None:
        while not self._over.wait(_SAMPLE_SECONDS):
            pids = _tree(self._root)
            # Of one process the system itself keeps the peak.
            if len(pids) > 1:
                self.most = max(self.most, _resident(pids))

    def stop(self) -> None:
        self._over.set()
        self.join()


def measure(command: Sequence[str], environment: Mapping[str, str] = {}) -> Cost:
    """Run a command and wait for it. RuntimeError with its output when it fails."""
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
        )
        watch = _Watch(process.pid)
        watch.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        watch.stop()
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"{' '.join(command)}\n{output.read().decode(errors='replace')}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, max(usage.ru_maxrss / 1024, watch.most))


class Bench:
    """The archives, and a place for outputs that are thrown away."""

    def __init__(self, images: Path, model: str, work: Path):
        self._sources = sorted(path.absolute() for path in images.iterdir() if path.suffix in (".jpg", ".png"))
        self._model = model
        self._work = work

    def archive(self, count: int) -> Path:
        """A folder with this many links to the images, under as many names; more than there are: some of them again."""
        folder = self._work / f"images-{count}"
        if not folder.is_dir():
            folder.mkdir()
            for index, source in zip(range(count), itertools.cycle(self._sources), strict=False):
                (folder / f"{index:07d}_{source.name}").symlink_to(source)
        return folder

    def __len__(self) -> int:
        return len(self._sources)

    def run(self, who: str, count: int, *options: str, environment: Mapping[str, str] = {}) -> Cost:
        """One contestant on an archive of `count` images."""
        output = self._work / "output"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        images, result = str(self.archive(count)), str(output / "scores")
        if who == OURS:
            arguments = [OURS, "--input", images, "--model", self._model, "--output", result, *options]
        else:
            arguments = ["benchmarks.scoring_rivals", who, images, self._model, result]
        return measure([sys.executable, "-m", *arguments], environment)


class Turn(NamedTuple):
    """One contestant in one round: the smaller and the larger archive."""

    small: Cost
    large: Cost
    images: int

    @property
    def steady(self) -> float:
        """Images per second without the start."""
        return self.images * 2 / 3 / (self.large.seconds - self.small.seconds)

    @property
    def whole(self) -> float:
        """Images per second of the whole command."""
        return self.images / self.large.seconds

    @property
    def cpu(self) -> float:
        """Processor milliseconds an image, without the start."""
        return (self.large.cpu_seconds - self.small.cpu_seconds) * 1000 / (self.images * 2 / 3)


def _report(names: Sequence[str], rounds: Sequence[Mapping[str, Turn]], labels: Mapping[str, str]) -> None:
    """Print the table of medians; ratios are ours (or the first row's) to each, within a round."""
    print("| | whole, s | images/s, whole | ratio | images/s, steady | ratio | cpu, ms/image | ratio | peak, MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in names:
        turns = [turns[name] for turns in rounds]
        firsts = [turns[names[0]] for turns in rounds]
        pairs = list(zip(firsts, turns, strict=True))
        cells = [
            f"{statistics.median(turn.large.seconds for turn in turns):.1f}",
            f"{statistics.median(turn.whole for turn in turns):.0f}",
            f"{statistics.median(first.whole / turn.whole for first, turn in pairs):.2f}",
            f"{statistics.median(turn.steady for turn in turns):.0f}",
            f"{statistics.median(first.steady / turn.steady for first, turn in pairs):.2f}",
            f"{statistics.median(turn.cpu for turn in turns):.2f}",
            f"{statistics.median(turn.cpu / first.cpu for first, turn in pairs):.2f}",
            f"{statistics.median(turn.large.memory for turn in turns):.0f}",
        ]
        print(f"| {labels.get(name, name)} | {' | '.join(cells)} |", flush=True)


def _compare(
    names: Sequence[str], labels: Mapping[str, str], files: int, rounds: int, run: Callable[[str, int], Cost]
) -> None:
    large = files // 3 * 3
    done: list[dict[str, Turn]] = []
    for index in range(rounds):
        # Each contestant's two archives directly after each other; every round starts with another contestant.
        order = [names[(index + place) % len(names)] for place in range(len(names))]
        done.append({name: Turn(run(name, large // 3), run(name, large), large) for name in order})
        print(f"round {index + 1}, load {os.getloadavg()[0]:.1f}:", file=sys.stderr)
        for name, turn in done[-1].items():
            print(f"  {name}: {turn.steady:.0f}/s steady, {turn.large}", file=sys.stderr, flush=True)
    _report(names, done, labels)


def _tenfold(bench: Bench, rounds: int) -> None:
    print("| images | whole command, s | images/s | peak, MiB |\n| ---: | ---: | ---: | ---: |", flush=True)
    for count in (len(bench), 10 * len(bench)):
        costs = [bench.run(OURS, count) for _ in range(rounds)]
        seconds = statistics.median(cost.seconds for cost in costs)
        memory = statistics.median(cost.memory for cost in costs)
        print(f"| {count:,} | {seconds:.0f} | {count / seconds:.0f} | {memory:.0f} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="a folder of images")
    parser.add_argument("--model", required=True, help="the model folder that trainer.task wrote")
    parser.add_argument("--second_model", help="another model of the same dataset, for --settings")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=int, help="how many files the larger archive has (default: the folder's)")
    parser.add_argument("--only", nargs="+", help="of the contestants or settings, these")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--settings", action="store_true", help="our job with other options")
    kind.add_argument("--tenfold", action="store_true", help="our job on ten times the archive")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(arguments.images, arguments.model, Path(work))
        files = arguments.files or len(bench)
        if arguments.tenfold:
            _tenfold(bench, arguments.rounds)
        elif arguments.settings:

            def run(name: str, count: int) -> Cost:
                options = SETTINGS[name]
                if name == "two models of one dataset":
                    options = ("--model", arguments.second_model)
                return bench.run(OURS, count, *options, environment=ENVIRONMENT.get(name, {}))

            possible = [name for name in SETTINGS if arguments.second_model or "two models" not in name]
            _compare(arguments.only or possible, {}, files, arguments.rounds, run)
        else:
            _compare(arguments.only or list(LABELS), LABELS, files, arguments.rounds, bench.run)


if __name__ == "__main__":
    main()
