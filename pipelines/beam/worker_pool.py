"""Start Beam's workers on this machine for a runner that asks for them (`--environment_type EXTERNAL`).

Beam has such a pool too. In this one

- several task managers or executors can share a pool: each numbers its workers by itself, so a worker is known by its
  number and the address that it reports to;
- a worker gets the job's options, and sends its log to the runner;
- a worker that ends before it reaches the runner is an error of the job, which would wait for it for ever;
- workers run the Python that runs the pool, and nothing that they print is held back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command


def main(argv: Sequence[str] | None = None) -> None:
    """Serve a pool until SIGTERM or Ctrl-C.

    Args:
        argv: The arguments after the program name; None for those of the process.

    Raises:
        UsageError: An argument cannot be used.
    """
    parser = ArgumentParser(prog="python -m pipelines.beam.worker_pool", description=__doc__)
    parser.add_argument("--port", type=int, default=50000, help="port to listen at; 0 for any that is free")
    parser.add_argument(
        "--host",
        default="localhost",
        help="address to listen at; whoever reaches it can have code run here, so leave it unless the network is yours",
    )
    options = parser.parse_args(argv)
    if not 0 <= options.port < 2**16:
        raise UsageError(f"--port {options.port}: a number from 0 to 65535 is needed")
    # Imported once the command line is sound: Beam takes seconds to start.
    from pipelines.beam.pool_server import say, serving

    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with serving(options.host, options.port) as port:
        say(f"workers are started for whoever asks at {options.host}:{port}")
        over.wait()


if __name__ == "__main__":
    run_command("pipelines.beam.worker_pool", main)
