"""Prepare against other ways to do it: `python -m benchmarks.prepare [--images DIR] [--count N ...] [--rounds N]`.

Every figure is of a whole command in a process of its own, on the same files (`benchmarks.prepare_inputs`), at 192
pixels, stretched, JPEG of quality 95, without balance; `benchmarks.prepare_rivals` says what the others do. The
contestants take turns within a round, so that a machine that others use is as slow for one as for the next; ratios are
taken within a round, and the tables have medians over the rounds. Each command reads files that the system has in its
cache. How many records it wrote is checked.

With several counts, a second table has what each further image costs between them, so what is left without the start,
and how memory grows.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import statistics
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.prepare_inputs import Archive, Archives
from benchmarks.prepare_rivals import SIZE
from benchmarks.scoring import Cost, measure

OURS = "prepare"
LABELS = {
    OURS: "`pipelines.prepare`",
    "loop": "(a) a loop in two processes",
    "tfds": "(b) `tfds build`",
    "tfds_beam": "(b) `tfds build`, a builder with Beam",
    "img2dataset": "(c) img2dataset, two processes; crops instead of stretching",
    "beam": "(d) Beam: a Map for each step, WriteToTFRecord",
}
# What needs packages that the project does not have, benchmarks/requirements.txt.
EXTERNAL = ("tfds", "tfds_beam", "img2dataset")
_LENGTH = struct.Struct("<Q")


def records_in(folder: Path) -> int:
    """Count the TFRecords of all shards below a folder."""
    found = 0
    for path in folder.rglob("*.tfrecord*"):
        with path.open("rb") as file:
            while header := file.read(_LENGTH.size):
                file.seek(4 + _LENGTH.unpack(header)[0] + 4, os.SEEK_CUR)
                found += 1
    return found


def command_of(who: str, archive: Archive, output: Path, external: Path) -> list[str]:
    """Return a contestant's command.

    Args:
        who: A key of LABELS.
        archive: What it reads.
        output: An empty folder that it writes to.
        external: The Python of the environment for EXTERNAL.
    """
    images = str(archive.images)
    if who == OURS:
        given = ["--input", images, "--metadata", str(archive.table), "--output", str(output / "dataset")]
        pixels = ["--image_size", str(SIZE), "--aspect", "stretch", "--balance", "none"]
        return [sys.executable, "-m", "pipelines.prepare", *given, *pixels]
    if who.startswith("tfds"):
        builder = ["build", "benchmarks/tfds_lesions.py", "--config", "beam" if who == "tfds_beam" else "plain"]
        places = ["--manual_dir", images, "--data_dir", str(output)]
        # It would ask a bucket for a dataset of this name.
        more = ["--download_config", '{"try_download_gcs": false}', "--beam_pipeline_options", "runner=FnApiRunner"]
        return [str(external.with_name("tfds")), *builder, *places, *more]
    python = str(external) if who in EXTERNAL else sys.executable
    return [python, "-m", "benchmarks.prepare_rivals", who, images, str(output)]


class Bench:
    """The archives, and a place for outputs that are thrown away."""

    def __init__(self, archives: Archives, work: Path, external: Path):
        self.archives = archives
        self._output = work / "output"
        self._external = external

    def run(self, who: str, count: int) -> Cost:
        """Run one contestant on `count` files.

        Raises:
            RuntimeError: It fails, or writes more or clearly fewer records than there are files.
        """
        shutil.rmtree(self._output, ignore_errors=True)
        self._output.mkdir(parents=True)
        command = command_of(who, self.archives.of(count), self._output, self._external)
        # What img2dataset resizes with would look for its own newest version.
        cost = measure(command, {"NO_ALBUMENTATIONS_UPDATE": "1"})
        written = records_in(self._output)
        shutil.rmtree(self._output)
        # Some pictures of a collection differ by their encoding alone. Made anew they are the same file twice.
        if not 0.999 * count <= written <= count:
            raise RuntimeError(f"{' '.join(command)}\n{written} records of {count} files: are the pictures distinct?")
        return cost


# What a contestant took in one round, by number of files.
Turn = Mapping[int, Cost]
# A figure of a turn.
Figure = Callable[[Turn], float]
# Clock and processor.
_TIMES = ("seconds", "cpu_seconds")


def _whole(field: str, count: int) -> Figure:
    return lambda turn: getattr(turn[count], field)


def _further(field: str, few: int, many: int) -> Figure:
    """Milliseconds for each image beyond the first `few`."""
    return lambda turn: 1000 * (getattr(turn[many], field) - getattr(turn[few], field)) / (many - few)


def _cells(rounds: Sequence[Mapping[str, Turn]], who: str, figures: Sequence[Figure], digits: int) -> list[str]:
    """Return for each figure its median over the rounds, and that of its ratio to ours: the speed ours has of it."""
    cells = []
    for figure in figures:
        cells.append(f"{statistics.median(figure(turns[who]) for turns in rounds):.{digits}f}")
        cells.append(f"{statistics.median(figure(turns[who]) / figure(turns[OURS]) for turns in rounds):.2f}")
    return cells


def report(rounds: Sequence[Mapping[str, Turn]], names: Sequence[str], counts: Sequence[int]) -> None:
    """Print the table of whole commands and, of several counts, that of each further image."""
    print("| files | | whole command, s | ours / other | cpu, s | ours / other | peak, MiB |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for count in counts:
        for who in names:
            cells = _cells(rounds, who, [_whole(field, count) for field in _TIMES], 1)
            memory = statistics.median(turns[who][count].memory for turns in rounds)
            print(f"| {count:,} | {LABELS[who]} | {' | '.join(cells)} | {memory:.0f} |")
    if len(counts) == 1:
        return
    print("\n| from, to | | a further image, ms | ours / other | cpu, ms | ours / other | memory |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for few, many in itertools.pairwise(counts):
        for who in names:
            cells = _cells(rounds, who, [_further(field, few, many) for field in _TIMES], 2)
            growth = statistics.median(turns[who][many].memory / turns[who][few].memory - 1 for turns in rounds)
            print(f"| {few:,}, {many:,} | {LABELS[who]} | {' | '.join(cells)} | {growth:+.0%} |")


def compare(bench: Bench, names: Sequence[str], counts: Sequence[int], rounds: int) -> list[dict[str, Turn]]:
    """Let the contestants take turns.

    Returns:
        For each round, what each contestant took for each number of files.
    """
    for count in counts:
        bench.archives.of(count).read()
    done: list[dict[str, Turn]] = []
    for index in range(rounds):
        # All sizes of a contestant directly after each other; every round starts with another contestant.
        order = [names[(index + place) % len(names)] for place in range(len(names))]
        done.append({})
        for who in order:
            done[-1][who] = {count: bench.run(who, count) for count in counts}
            print(f"round {index + 1}, load {os.getloadavg()[0]:.1f}, {who}: {done[-1][who]}", file=sys.stderr)
    return done


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="a folder of distinct pictures; without it they are drawn")
    parser.add_argument("--count", type=int, nargs="+", default=[100, 400], help="numbers of files")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--only", nargs="+", choices=list(LABELS), default=list(LABELS), help="of the contestants, these"
    )
    parser.add_argument("--work", type=Path, help="where archives are kept for the next run; otherwise they are not")
    parser.add_argument("--external", type=Path, default=Path(".venv-bench/bin/python"), help=f"Python for {EXTERNAL}")
    arguments = parser.parse_args(argv)
    counts = sorted(arguments.count)
    names = list(dict.fromkeys([OURS, *arguments.only]))
    absent = [] if arguments.external.is_file() else [who for who in names if who in EXTERNAL]
    names = [who for who in names if who not in absent]
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        bench = Bench(Archives(work, arguments.images), work, arguments.external)
        if counts[-1] > bench.archives.most:
            parser.error(f"--count {counts[-1]}: the pictures of {arguments.images} give {bench.archives.most} files")
        rounds = compare(bench, names, counts, arguments.rounds)
    report(rounds, names, counts)
    if absent:
        print(f"\nLeft out, since there is no {arguments.external} (`make bench` makes it): {', '.join(absent)}.")


if __name__ == "__main__":
    main()
