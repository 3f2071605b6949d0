"""A job on a job server is followed, and ends when its command is interrupted."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lasting_job import begun, command_of, let_go
from tests.support.portable import job_server

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    with job_server(ROOT, tmp_path_factory.mktemp("server")) as options:
        yield options


@contextlib.contextmanager
def command(folder: Path, options: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A command whose job has begun; gives it and the first line that it has printed."""
    with subprocess.Popen(
        [sys.executable, "-m", *map(str, command_of(folder)), *options],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            first = process.stderr.readline()
            assert first.startswith("lasting_job: job "), first
            assert begun(folder).read_text()
            yield process, first
        finally:
            let_go(folder).touch()
            process.kill()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_cancels_its_job(
    server: list[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    with command(tmp_path, server) as (process, first):
        process.send_signal(number)
        _, rest = process.communicate(timeout=120)
    assert process.returncode == code
    job = re.escape(first[: first.rindex(": ")])
    assert re.match(r"lasting_job: job \S+ at localhost:\d+: ", first)
    ours = "".join(line for line in [first, *rest.splitlines(keepends=True)] if line.startswith("lasting_job"))
    assert re.fullmatch(
        rf"({job}: (STARTING|RUNNING)\n)+"
        rf"{job} is being cancelled; a second interruption leaves it to itself\n"
        rf"({job}: CANCELLED\n)+"
        r"lasting_job: interrupted; the same command starts again\n",
        ours,
    ), ours


def test_a_job_that_ends_is_followed_to_its_end(server: list[str], tmp_path: Path) -> None:
    let_go(tmp_path).touch()
    with command(tmp_path, server) as (process, first):
        _, rest = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert ": RUNNING\n" in first + rest


def test_a_job_server_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.support.lasting_job", str(tmp_path), "--runner=PortableRunner"),
            *("--job_endpoint=localhost:1", "--job_server_timeout=1", "--environment_type=LOOPBACK"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "lasting_job: error: --job_endpoint localhost:1: no job server answers there in 1 s\n",
    )
