"""Services are started, waited for and stopped, whatever happens in between."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.engines.processes import ServiceError, Services, free_ports, get_json, listens

_SERVER = ("-m", "http.server", "--bind", "localhost")


def ends(pidfd: int) -> bool:
    """Wait for the end of a process that is nobody's child here."""
    ready, _, _ = select.select([pidfd], [], [], 60)
    os.close(pidfd)
    return bool(ready)


def test_free_ports_differ_and_are_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert not any(listens(port) for port in ports)


def test_a_service_runs_as_long_as_the_block_and_not_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text('{"answer": 42}')
    (port,) = free_ports(1)

    def fail() -> None:
        with Services(tmp_path / "logs") as services:
            services.start("web", [sys.executable, *_SERVER, str(port)], lambda: listens(port), folder=tmp_path)
            assert get_json(f"http://localhost:{port}/answer.json") == {"answer": 42}
            assert "GET /answer.json" in services.log("web").read_text()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not listens(port)


def test_a_service_that_was_stopped_is_started_again_as_before(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Services(tmp_path / "logs") as services:
        services.start("web", [sys.executable, *_SERVER, str(port)], lambda: listens(port), folder=tmp_path)
        services.stop("web", signal.SIGKILL)
        assert not listens(port)
        services.start_again("web")
        assert listens(port)


def test_what_a_service_has_started_ends_with_it_even_if_it_ignores_signals(tmp_path: Path) -> None:
    child = tmp_path / "child"
    started = f"trap '' TERM; echo $BASHPID > {child}.part; mv {child}.part {child}; sleep 300"
    with Services(tmp_path) as services:
        services.start("shell", ["bash", "-c", f"({started}) & exec sleep 300"], child.exists)
        pidfd = os.pidfd_open(int(child.read_text()))
    assert ends(pidfd)


def test_a_service_that_ends_at_once_is_one_line_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Services(tmp_path) as services, pytest.raises(ServiceError) as caught:
        services.start("java", ["bash", "-c", "echo begin; echo no memory left >&2; exit 3"], lambda: False)
    assert str(caught.value) == f"java ended with code 3; see {tmp_path}/java.log, which ends with: no memory left"


def test_services_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import signal
from pathlib import Path
from deploy.engines.processes import Services
ready = Path({str(tmp_path)!r}, "ready")
with Services(ready.parent) as services:
    services.start("sleep", ["bash", "-c", f"touch {{ready}}; exec sleep 300"], ready.exists)
    print(services.pid("sleep"), flush=True)
    signal.pause()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        pidfd = os.pidfd_open(pid)
        process.kill()
    assert ends(pidfd)
