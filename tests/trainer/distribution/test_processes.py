"""Commands beside each other: order, cores, lines, failures and signals. Needs no TensorFlow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.tiny_dataset import ROOT
from trainer.distribution.processes import Command, available_cores, run_chains, split_cores

# Ends by a signal, or in a minute, so that a test of ours that fails does end.
FOREVER = "import time; time.sleep(60)"
GRACE = 30


def python(code: str, mark: str = "", **environment: str) -> Command:
    return Command([sys.executable, "-c", code], mark, environment)


def test_cores_are_split_evenly() -> None:
    assert split_cores([0, 1, 2, 3, 4], 2) == [[0, 1], [2, 3]]
    assert split_cores([3, 7], 2) == [[3], [7]]
    assert split_cores([0], 2) == [[0], [0]]


def test_a_chain_goes_on_after_success_and_is_asked_for_no_sooner(tmp_path: Path) -> None:
    def chain(name: str) -> Iterator[Command]:
        path = tmp_path / name
        yield python(f"open({str(path)!r}, 'w').write('first')")
        assert path.read_text() == "first"
        yield python(f"open({str(path)!r}, 'a').write(' second')")

    assert run_chains([chain(name) for name in "abc"], 2, GRACE) == (0, None)
    assert [(tmp_path / name).read_text() for name in "abc"] == ["first second"] * 3


def test_each_has_its_share_of_the_cores_and_its_mark(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import os; print('cores', *sorted(os.sched_getaffinity(0)))"
    before = os.sched_getaffinity(0)
    assert run_chains([iter([python(code, f"[{name}] ")]) for name in "ab"], 2, GRACE) == (0, None)
    said = sorted(capfd.readouterr().out.splitlines())
    shares = [{int(core) for core in line.split()[2:]} for line in said]
    assert [line[:4] for line in said] == ["[a] ", "[b] "]
    assert sorted(map(sorted, shares)) == sorted(split_cores(available_cores(), 2))
    assert os.sched_getaffinity(0) == before


def test_the_first_failure_is_the_code_and_ends_the_others(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    started = tmp_path / "started"
    chains = [
        iter([python(FOREVER, "[a] ")]),
        iter([python("import sys; sys.exit(7)", "[b] "), python(f"open({str(started)!r}, 'w')")]),
        iter([python(f"open({str(started)!r}, 'w')", "[c] ")]),
    ]
    assert run_chains(chains, 2, GRACE) == (7, None)
    assert not started.exists()
    assert "[a] ended by SIGTERM\n" in capfd.readouterr().err


def test_what_does_not_end_is_killed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ready = tmp_path / "ready"
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(ready)!r}, 'w'); {FOREVER}"
    fails = f"import os, sys\nwhile not os.path.exists({str(ready)!r}): pass\nsys.exit(3)"
    assert run_chains([iter([python(stubborn, "[a] ")]), iter([python(fails, "[b] ")])], 2, 0.1) == (3, None)
    assert "[a] ended by SIGKILL\n" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_they_are_started_reaches_all(tmp_path: Path, number: signal.Signals) -> None:
    started = tmp_path / "started"
    tells = f"import os; os.kill(os.getppid(), {int(number)}); {FOREVER}"
    chains = [
        iter([python(tells)]),
        iter([python(FOREVER)]),
        iter([python(f"open({str(started)!r}, 'w')")]),
    ]
    before = signal.getsignal(number)
    code, received = run_chains(chains, 2, GRACE)
    assert received == number
    assert code == 128 + signal.SIGTERM
    assert not started.exists()
    assert signal.getsignal(number) == before


def test_any_bytes_and_any_amount_are_copied(capfd: pytest.CaptureFixture[str]) -> None:
    code = "import sys; sys.stdout.buffer.write(b'\\xff\\n' + b'x' * 99 + b'\\n' + b'y\\n' * 100_000); sys.exit(4)"
    assert run_chains([iter([python(code, "[a] ")])], 1, GRACE).code == 4
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 100_002
    assert {line[:4] for line in lines} == {"[a] "}


def run_program(code: Sequence[str]) -> subprocess.Popen[str]:
    """A program that runs chains; its output ends when nothing that it started is left."""
    lines = ("import sys", "from trainer.distribution.processes import Command, run_chains", *code)
    command = [sys.executable, "-c", "\n".join(lines)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_nothing_goes_on_for_a_reader_who_has_gone() -> None:
    code = (
        "import os",
        "endless = [sys.executable, '-c', 'while True: print(0, flush=True)']",
        "outcome = run_chains([iter([Command(endless, '[a] ')])], 1, 30)",
        "os.write(2, f'code {outcome.code}'.encode())",
        "os._exit(0)",
    )
    with run_program(code) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "[a] 0\n"
        process.stdout.close()
        assert process.stderr.read().splitlines()[-1] == f"code {128 + signal.SIGTERM}"


def test_a_failure_of_ours_leaves_nothing_running() -> None:
    code = (
        "def fails():",
        "    yield Command([sys.executable, '-c', ''])",
        "    raise OSError('broken')",
        f"survives = [sys.executable, '-c', '{FOREVER}; print(1)']",
        "run_chains([iter([Command(survives)]), fails()], 2, 30)",
    )
    with run_program(code) as process:
        said, error = process.communicate()
    assert said == ""
    assert "OSError: broken" in error
