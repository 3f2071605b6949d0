"""What an engine costs: `python -m benchmarks.engines [--files 5000 50000] [--engines local flink spark prism]`.

Prepare and score, as whole commands, on archives of the pictures of a folder (`--images`), or of drawn ones. Each run
has a cluster of its own, started for it. Seconds are those of the command. Processor seconds and memory are of
everything together: command, engine, job server, workers, and the start of all that. What crossed shuffles is what the
engine's own metrics say.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from benchmarks.prepare_inputs import Archives
from benchmarks.scoring import Cost, measure
from deploy.engines.engine import Engine
from deploy.engines.flink import running_flink
from deploy.engines.prism import running_prism
from deploy.engines.processes import get_json
from deploy.engines.spark import running_spark

LOCAL = "local"
JOBS = ("prepare", "score")
_IMAGE_SIZE = 64


def _flink_shuffled(engine: Engine, _: Path) -> int:
    """Return the bytes that tasks of the cluster's jobs have sent to others."""
    jobs = [get_json(f"{engine.page}/jobs/{job['id']}") for job in get_json(f"{engine.page}/jobs")["jobs"]]
    return sum(vertex["metrics"]["write-bytes"] for job in jobs for vertex in job["vertices"])


def _running_spark(folder: Path) -> AbstractContextManager[Engine]:
    # A job's page ends with it, so its figures go into a log.
    (folder / "events").mkdir(parents=True)
    events = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": (folder / "events").as_uri()}
    return running_spark(folder / "cluster", properties=events)


def _spark_shuffled(_: Engine, folder: Path) -> int:
    """Return the bytes that tasks of the cluster's jobs have written for others."""
    shuffled = 0
    for log in (folder / "events").iterdir():
        for line in log.read_text().splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerTaskEnd":
                shuffled += event["Task Metrics"]["Shuffle Write Metrics"]["Shuffle Bytes Written"]
    return shuffled


class _Candidate(NamedTuple):
    running: Callable[[Path], AbstractContextManager[Engine]]
    shuffled: Callable[[Engine, Path], int] | None  # the bytes, of an engine that counts them


ENGINES = {
    "flink": _Candidate(running_flink, _flink_shuffled),
    "spark": _Candidate(_running_spark, _spark_shuffled),
    "prism": _Candidate(running_prism, None),
}


def _run_one(name: str, folder: Path, command: Sequence[str]) -> None:
    """Run a command on an engine of its own; leave its seconds and what crossed shuffles in `folder`."""

    def timed(options: Sequence[str]) -> float:
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", *command, *options], check=True)
        return time.monotonic() - started

    figures: dict[str, float | None]
    if name == LOCAL:
        figures = {"seconds": timed(()), "shuffled": None}
    else:
        running, shuffled = ENGINES[name]
        with running(folder / "engine") as engine:
            seconds = timed(engine.options)
            figures = {"seconds": seconds, "shuffled": shuffled and shuffled(engine, folder / "engine")}
    (folder / "figures.json").write_text(json.dumps(figures))


class _Figures(NamedTuple):
    cost: Cost
    shuffled: int | None  # bytes; None if nothing counts them


def _measured(name: str, command: Sequence[str]) -> _Figures:
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as work:
        one = [sys.executable, "-m", "benchmarks.engines", "--one", name, work, *command]
        cost = measure(one)
        figures = json.loads((Path(work) / "figures.json").read_text())
    return _Figures(cost._replace(seconds=figures["seconds"]), figures["shuffled"])


def _commands(archives: Archives, work: Path, files: int) -> dict[str, list[str]]:
    """Return the commands of the jobs on an archive of this many files, without their outputs; make what is missing."""
    archive, model = archives.of(files), work / "train" / "model"
    archive.read()
    prepare = ["--input", archive.images, "--metadata", archive.table, "--image_size", _IMAGE_SIZE]
    if not model.is_dir():
        measure([sys.executable, "-m", "pipelines.prepare", *map(str, prepare), "--output", str(work / "dataset")])
        tiny = ("--epochs", "1", "--width", "0.25", "--depth", "1")
        train = ("--dataset", str(work / "dataset"), "--output", str(work / "train"))
        measure([sys.executable, "-m", "trainer.task", *train, *tiny])
    arguments = {"prepare": prepare, "score": ["--input", archive.images, "--model", model]}
    return {job: [f"pipelines.{job}", *map(str, arguments[job])] for job in JOBS}


def _report(job: str, files: int, rounds: Sequence[dict[str, _Figures]]) -> None:
    for name in rounds[0]:
        costs = [figures[name].cost for figures in rounds]
        shuffled = rounds[0][name].shuffled
        cells = [
            f"{statistics.median(cost.seconds for cost in costs):.0f}",
            f"{statistics.median(cost.cpu_seconds for cost in costs):.0f}",
            f"{statistics.median(cost.memory for cost in costs):.0f}",
            "" if shuffled is None else f"{shuffled / 2**20:.1f}",
        ]
        print(f"| {job} | {files:,} | {name} | {' | '.join(cells)} |", flush=True)


def main(argv: Sequence[str]) -> None:
    """Print a table."""
    if argv[:1] == ["--one"]:
        _run_one(argv[1], Path(argv[2]), argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[5000, 50000])
    parser.add_argument("--engines", nargs="+", choices=[LOCAL, *ENGINES], default=[LOCAL, *ENGINES])
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--rounds", type=int, default=1, help="the table has medians over them")
    parser.add_argument("--images", type=Path, help="a folder of distinct pictures that the archives are made of")
    parser.add_argument("--work", type=Path, help="a folder for archives and model, where the next run finds them")
    arguments = parser.parse_args(argv)
    print("| job | files | engine | s | cpu, s | peak, MiB | shuffled, MiB |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        work = arguments.work or Path(folder)
        archives = Archives(work, arguments.images)
        if max(arguments.files) > archives.most:
            parser.error(f"--files {max(arguments.files)}: the pictures of {arguments.images} give {archives.most}")
        for files in arguments.files:
            commands = _commands(archives, work, files)
            for job in arguments.jobs:
                rounds = []
                for index in range(arguments.rounds):
                    figures = {}
                    for name in arguments.engines:
                        output = Path(folder) / f"out-{files}-{job}-{index}-{name}"
                        figures[name] = _measured(name, [*commands[job], "--output", str(output)])
                    rounds.append(figures)
                _report(job, files, rounds)


if __name__ == "__main__":
    main(sys.argv[1:])
