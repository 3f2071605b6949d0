"""A worker process of `worker_pool`: Beam's own worker, which tells the pool once it has reached its runner."""

from __future__ import annotations

import os
import sys
import threading

from apache_beam.runners.worker.sdk_worker_main import create_harness


def _end_with_pool() -> None:
    # The pool holds the other end of this pipe and writes nothing. By a call that takes no lock of Python's, which the
    # end of the process would wait for.
    os.read(0, 1)
    os._exit(1)


def main(connected: int) -> None:
    """Work for the runner that the environment names, in the form that Beam's container gives it.

    Args:
        connected: Number of an open pipe; a byte is written to it once the runner is reached.
    """
    threading.Thread(target=_end_with_pool, daemon=True).start()
    log_handler, harness, _ = create_harness(os.environ)
    os.write(connected, b".")
    os.close(connected)
    try:
        harness.run()
    finally:
        if log_handler:
            log_handler.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
