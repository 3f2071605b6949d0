"""A worker process of `worker_pool`: Beam's own worker, which tells the pool once it has reached its runner."""

from __future__ import annotations

import os
import sys

from apache_beam.runners.worker.sdk_worker_main import create_harness


def main(connected: int) -> None:
    """Work for the runner that the environment names, in the form that Beam's container gives it.

    Args:
        connected: Number of an open pipe; a byte is written to it once the runner is reached.
    """
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
