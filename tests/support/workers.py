"""Several real worker processes of one run on the tiny dataset, watched through what they print."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.tiny_dataset import ROOT, command
from trainer.distribution.local_cluster import free_ports, local_configs

# Far beyond what a run takes; a hanging one must not hang the tests.
LIMIT_SECONDS = 300


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: list[str]
    stderr: list[str]


@contextmanager
def started(arguments: Sequence[Sequence[str]], folder: Path) -> Iterator[list[subprocess.Popen]]:
    """One process per command line, as workers of a cluster; killed at the end. Their output goes to files."""
    folder.mkdir(parents=True, exist_ok=True)
    processes: list[subprocess.Popen] = []
    try:
        for rank, (line, config) in enumerate(zip(arguments, local_configs(free_ports(len(arguments))), strict=True)):
            temporary = folder / f"tmp{rank}"
            temporary.mkdir(exist_ok=True)
            environment = {**os.environ, "TF_CONFIG": config, "TMPDIR": str(temporary)}
            # The chief's lines are waited for, so they come through a pipe.
            with (folder / f"out{rank}").open("w") as out, (folder / f"err{rank}").open("w") as err:
                processes.append(
                    subprocess.Popen(
                        line, stdout=out if rank else subprocess.PIPE, stderr=err, text=True, cwd=ROOT, env=environment
                    )
                )
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _kill(processes: list[subprocess.Popen]) -> None:
    for process in processes:
        process.kill()


def run_pair(
    dataset: Path,
    output: Path,
    folder: Path,
    *options: str,
    at: str = "",
    act: Callable[[list[subprocess.Popen]], None] = lambda processes: None,
) -> list[Ended]:
    """Two workers to their end; `act` on them when the chief prints a line that starts with `at`.

    Only the chief is told the output: what the other one is told instead must never appear.
    """
    outputs = [output, folder / "not-for-worker-1"]
    with started([command(dataset, one, *options) for one in outputs], folder) as processes:
        # Bounded, whatever hangs: the tests then see the code of a killed process.
        killer = threading.Timer(LIMIT_SECONDS, _kill, [processes])
        killer.daemon = True
        killer.start()
        lines = []
        assert processes[0].stdout is not None
        for line in processes[0].stdout:
            lines.append(line)
            if at and line.startswith(at):
                act(processes)
        for process in processes:
            process.wait()
        killer.cancel()
        assert not outputs[1].exists()
        stdout = [lines, (folder / "out1").read_text().splitlines()]
        return [
            Ended(process.returncode, stdout[rank], (folder / f"err{rank}").read_text().splitlines())
            for rank, process in enumerate(processes)
        ]
