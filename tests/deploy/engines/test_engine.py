"""The command that runs an engine says how to use it, and stops it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from deploy.engines.processes import listens
from tests.support.tiny_dataset import ROOT

# An engine that is our workers alone.
PROGRAM = """
import contextlib, sys
from pathlib import Path
from deploy.engines import engine
from deploy.engines.processes import ServiceError, Services

engine.ENGINES = Path(sys.argv[1])

@contextlib.contextmanager
def running(folder):
    with Services(folder) as services:
        if len(sys.argv) > 2:
            services.start("broken", ["bash", "-c", "echo no memory; exit 3"], lambda: False)
        yield engine.Engine(services, "http://localhost:1", engine.start_workers(services, None))

sys.exit(engine.serve("toy", running))
"""


def test_an_engine_runs_until_it_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        said = dict(process.stdout.readline().rstrip("\n").split(": ", 1) for _ in range(3))
        options = said["options"].split()
        port = int(options[options.index("--environment_config") + 1].removeprefix("localhost:"))
        assert listens(port)
        assert "workers are started" in Path(said["logs"], "workers.log").read_text()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
    assert not listens(port)


def test_an_engine_that_does_not_start_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), "broken"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("deploy.engines.toy: error: broken ended with code 3; see ")
    assert line.endswith(": no memory")
