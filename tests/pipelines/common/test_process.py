"""Whether a process has ended, as far as that can be known."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from pipelines.common.process import is_gone, this_process

NOW = time.time()


def test_this_process_runs() -> None:
    own = this_process()
    assert (own.number, own.host) == (os.getpid(), socket.gethostname())
    assert is_gone(own, NOW) is False
    # The machine's name may change while it runs.
    assert is_gone(own._replace(host="renamed"), NOW) is False


def test_a_process_that_has_ended_is_gone_also_before_it_is_waited_for() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    own = this_process()._replace(number=child.pid, started=started(child.pid))
    assert is_gone(own, NOW) is False
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert is_gone(own, NOW) is True
    child.communicate()
    assert is_gone(own, NOW) is True


def started(number: int) -> str:
    with open(f"/proc/{number}/stat") as file:
        return file.read().rpartition(")")[2].split()[19]


def test_a_number_that_is_used_again_is_another_process() -> None:
    assert is_gone(this_process()._replace(started="1"), NOW) is True


def test_nothing_is_known_of_a_process_in_another_container_or_machine() -> None:
    own = this_process()._replace(number=1 << 21)
    assert is_gone(own._replace(number_space="pid:[1]"), 0) is None
    assert is_gone(own._replace(host="elsewhere", boot="another"), 0) is None


def test_what_ran_before_this_machine_was_started_again_is_gone() -> None:
    earlier = this_process()._replace(boot="another")
    assert is_gone(earlier, 1) is True
    # It may be another machine of this name.
    assert is_gone(earlier, NOW) is None
