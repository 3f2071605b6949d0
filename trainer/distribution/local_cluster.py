"""Several workers of one run on this machine: `python -m trainer.distribution.local_cluster --workers 2 -- ARGUMENTS`.

ARGUMENTS are those of `python -m trainer.task`. Each worker has a TF_CONFIG with free ports and its share of the cores;
its lines are marked with its number. When one fails, the others are ended, and the exit code is that of the first that
failed. SIGTERM and Ctrl-C end all of them.
"""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command
from trainer.config.options import number
from trainer.distribution.cluster import VARIABLE
from trainer.distribution.processes import Command, run_chains
from trainer.distribution.tf_config import tf_config

# Workers notice a lost one themselves; this is for workers that hang.
_GRACE_SECONDS = 60.0


def free_ports(count: int) -> list[int]:
    """Return ports of this machine on which nobody listens at the moment."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def local_configs(ports: Sequence[int]) -> list[str]:
    """Return the TF_CONFIG of each worker; the one with index 0 is the chief."""
    addresses = [f"localhost:{port}" for port in ports]
    return [tf_config(addresses, rank) for rank in range(len(ports))]


def run_workers(commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> int:
    """Run all commands at once and wait until the last one ends.

    Args:
        commands: Program and arguments of each worker.
        environments: Variables of each worker, besides those of this process.

    Returns:
        The exit code of the first command to fail, else 0.
    """
    chains = [
        iter([Command(command, f"[{index}] ", environment)])
        for index, (command, environment) in enumerate(zip(commands, environments, strict=True))
    ]
    return run_chains(chains, len(chains), _GRACE_SECONDS).code


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workers that the command line describes, and return the exit code.

    Args:
        argv: Command-line arguments; None: `sys.argv[1:]`.

    Raises:
        UsageError: If an option is wrong, or the arguments for `trainer.task` are missing.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = ArgumentParser(
        prog="python -m trainer.distribution.local_cluster",
        usage="%(prog)s --workers N -- ARGUMENTS OF trainer.task",
        description=__doc__,
    )
    parser.add_argument("--workers", type=number(int, 1, 64), default=2, metavar="N", help="processes to start")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    rest = options.arguments[1:] if options.arguments[:1] == ["--"] else options.arguments
    if not rest:
        raise UsageError(
            "no arguments for trainer.task: give them after --, as in --workers 2 -- --dataset D --output O"
        )
    configs = local_configs(free_ports(options.workers))
    command = [sys.executable, "-m", "trainer.task", "--strategy=multi_worker", *rest]
    return run_workers([command] * options.workers, [{VARIABLE: config} for config in configs])


if __name__ == "__main__":
    run_command("trainer.distribution.local_cluster", main)
