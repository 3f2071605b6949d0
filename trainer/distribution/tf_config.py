"""TF_CONFIG for schedulers that do not set it: `python -m trainer.distribution.tf_config slurm|kubernetes` prints it.

    export TF_CONFIG="$(python -m trainer.distribution.tf_config slurm)"
    export TF_CONFIG="$(python -m trainer.distribution.tf_config kubernetes --name isic --service isic --workers 4)"

Imports no TensorFlow.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command
from trainer.config.options import number

DEFAULT_PORT = 2222


def tf_config(addresses: Sequence[str], rank: int) -> str:
    """Return the JSON that `trainer.distribution.cluster` reads.

    Args:
        addresses: "host:port" of each worker, by rank; the worker with index 0 is the chief.
        rank: Index of the process that gets this TF_CONFIG.
    """
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}})


def expand_nodes(text: str) -> list[str]:
    """Return the hosts of Slurm's short form: `gpu[01-03,7],cpu1` -> gpu01, gpu02, gpu03, gpu7, cpu1."""
    nodes = []
    # Commas outside brackets separate the parts.
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        names = [""]
        for fixed, ranges in re.findall(r"([^\[]+)|\[([^\]]*)\]", part):
            pieces = [fixed] if fixed else [one for piece in ranges.split(",") for one in _numbers(piece)]
            names = [name + piece for name in names for piece in pieces]
        nodes += names
    return nodes


def _numbers(piece: str) -> list[str]:
    first, dash, last = piece.partition("-")
    if not dash:
        return [piece]
    return [str(value).zfill(len(first)) for value in range(int(first), int(last) + 1)]


def expand_counts(text: str) -> list[int]:
    """Return the tasks per node of Slurm's short form: `2(x3),1` -> 2, 2, 2, 1.

    Raises:
        ValueError: If `text` has another form.
    """
    counts: list[int] = []
    for piece in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", piece)
        if not match:
            raise ValueError(text)
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def slurm_config(environ: Mapping[str, str], port: int = DEFAULT_PORT) -> str:
    """Return the TF_CONFIG of one task of a Slurm step.

    Ranks are assigned in blocks, node after node.

    Args:
        environ: Environment variables of the task.
        port: Port of the first task of a node; the others on that node count up from it.

    Raises:
        UsageError: If this runs outside of `srun`, or if Slurm's variables are malformed or disagree.
    """
    try:
        nodes = expand_nodes(environ["SLURM_STEP_NODELIST"])
        counts = expand_counts(environ["SLURM_STEP_TASKS_PER_NODE"])
        rank = int(environ["SLURM_PROCID"])
    except KeyError as error:
        raise UsageError(f"{error.args[0]} is not set: start this with srun") from None
    except ValueError as error:
        raise UsageError(f"cannot read Slurm's SLURM_STEP_* variables ({error})") from None
    if len(nodes) != len(counts) or rank >= sum(counts):
        raise UsageError(f"Slurm's variables disagree: {len(nodes)} nodes, tasks {counts}, task {rank}")
    addresses = [f"{node}:{port + local}" for node, count in zip(nodes, counts, strict=True) for local in range(count)]
    return tf_config(addresses, rank)


def kubernetes_config(
    environ: Mapping[str, str], name: str, service: str, workers: int, port: int = DEFAULT_PORT
) -> str:
    """Return the TF_CONFIG of one pod of an Indexed Job.

    Args:
        environ: Environment variables of the pod.
        name: Name of the Job.
        service: Headless service of the pods, which gives them their host names.
        workers: Completions of the Job.
        port: Port of every worker.

    Raises:
        UsageError: If JOB_COMPLETION_INDEX, which Kubernetes sets in such pods, is missing or too large.
    """
    index = environ.get("JOB_COMPLETION_INDEX", "")
    if not index.isdecimal() or int(index) >= workers:
        raise UsageError(
            f"JOB_COMPLETION_INDEX '{index}' is not from 0 to {workers - 1}: a Job with completionMode Indexed and "
            f"{workers} completions is needed"
        )
    return tf_config([f"{name}-{one}.{service}:{port}" for one in range(workers)], int(index))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the TF_CONFIG for the scheduler that the command line names.

    Args:
        argv: Command-line arguments; None: those of this process.

    Raises:
        UsageError: If an option is wrong, or a variable of the scheduler is missing.
    """
    parser = ArgumentParser(prog="python -m trainer.distribution.tf_config", description=__doc__)
    schedulers = parser.add_subparsers(dest="scheduler", required=True, metavar="slurm|kubernetes")
    slurm = schedulers.add_parser("slurm", help="from SLURM_STEP_NODELIST, SLURM_STEP_TASKS_PER_NODE and SLURM_PROCID")
    kubernetes = schedulers.add_parser("kubernetes", help="from JOB_COMPLETION_INDEX of an Indexed Job")
    kubernetes.add_argument("--name", required=True, help="of the Job")
    kubernetes.add_argument("--service", required=True, help="headless service of its pods (spec.subdomain)")
    kubernetes.add_argument("--workers", required=True, type=number(int, 1, 10_000), metavar="N", help="completions")
    for one in (slurm, kubernetes):
        one.add_argument(
            "--port", type=number(int, 1, 65535), default=DEFAULT_PORT, metavar="N", help="of the first task of a host"
        )
    options = parser.parse_args(argv)
    if options.scheduler == "slurm":
        print(slurm_config(os.environ, options.port))
    else:
        print(kubernetes_config(os.environ, options.name, options.service, options.workers, options.port))


if __name__ == "__main__":
    run_command("trainer.distribution.tf_config", main)
