"""Read and check TF_CONFIG, which says who takes part in a run. Imports no TensorFlow.

Vertex AI, Kubeflow's TFJob and `trainer.distribution.tf_config` set TF_CONFIG for each process of a run:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}

Ranks begin with the task of `chief`, if there is one, followed by those of `worker`. Rank 0 is the chief of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.common.cli import UsageError

VARIABLE = "TF_CONFIG"
# In the order of ranks, as in TensorFlow.
ROLES = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """All workers of a run, and which of them this process is."""

    addresses: tuple[str, ...]  # "host:port" of each worker, by rank
    rank: int = 0  # of this process

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the chief."""
        return self.rank == 0

    def name(self, rank: int) -> str:
        """Return the name of a worker for messages."""
        return f"worker {rank} ({self.addresses[rank]})"


ALONE = Cluster(("localhost",))


def split_address(address: str) -> tuple[str, int]:
    """Return (host, port) of "host:port".

    Args:
        address: An IPv6 host must be in brackets, which the result leaves out.

    Raises:
        ValueError: If `address` has another form, or the port is not from 1 to 65535.
    """
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def read_cluster(environ: Mapping[str, str] = os.environ) -> Cluster | None:
    """Return the cluster that TF_CONFIG describes.

    Args:
        environ: Environment variables.

    Returns:
        The cluster, or None if TF_CONFIG is not set, empty or `{}`.

    Raises:
        UsageError: If TF_CONFIG cannot be used; the message is one line.
    """
    text = environ.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{VARIABLE} is not JSON ({error}): {_short(text)}") from None
    if config == {}:
        return None
    cluster, task = (config.get(key) if isinstance(config, dict) else None for key in ("cluster", "task"))
    if not isinstance(cluster, dict) or not cluster:
        raise _wrong('has no "cluster": {"worker": ["host:port", ...]}', text)
    if not isinstance(task, dict) or "type" not in task or "index" not in task:
        raise _wrong('has no "task": {"type": "worker", "index": 0}', text)
    strange = sorted(cluster.keys() - set(ROLES))
    if strange:
        raise _wrong(f"names tasks of type '{strange[0]}'; this program knows {' and '.join(ROLES)}", text)
    for role, addresses in cluster.items():
        if not (isinstance(addresses, list) and addresses and all(isinstance(one, str) for one in addresses)):
            raise _wrong(f'"{role}" is not a list of addresses', text)
    return Cluster(_addresses(cluster, text), _rank(cluster, task, text))


def check_cluster(strategy: str, cluster: Cluster | None) -> Cluster:
    """Return the workers of this run, after checking that --strategy and TF_CONFIG go together.

    Args:
        strategy: Value of --strategy.
        cluster: Result of `read_cluster`.

    Returns:
        `cluster`, or `ALONE` if it is None.

    Raises:
        UsageError: If there are several workers but a strategy for one, or the reverse.
    """
    if strategy == "multi_worker" and cluster is None:
        raise UsageError(
            "--strategy multi_worker needs TF_CONFIG, which says who the workers are: see docs/training.md, or use "
            "python -m trainer.distribution.local_cluster for several processes on this machine"
        )
    cluster = cluster or ALONE
    if cluster.size > 1 and strategy not in ("auto", "multi_worker"):
        raise UsageError(
            f"--strategy {strategy}, but TF_CONFIG names {cluster.size} workers: give multi_worker or auto, or "
            "unset TF_CONFIG"
        )
    return cluster


def _addresses(cluster: Mapping[str, list[str]], text: str) -> tuple[str, ...]:
    if len(cluster.get("chief", ())) > 1:
        raise _wrong(f"has {len(cluster['chief'])} chiefs; give one", text)
    addresses = tuple(address for role in ROLES for address in cluster.get(role, ()))
    for address in addresses:
        try:
            split_address(address)
        except ValueError:
            raise _wrong(f"address '{address}' is not host:port with a port from 1 to 65535", text) from None
    twice = next((one for one in addresses if addresses.count(one) > 1), None)
    if twice:
        raise _wrong(f"names {twice} twice", text)
    return addresses


def _rank(cluster: Mapping[str, list[str]], task: Mapping[str, Any], text: str) -> int:
    role, index = task["type"], task["index"]
    if role not in cluster:
        raise _wrong(f"says this is a '{role}', of which its cluster has none", text)
    # Some schedulers write the index as a string.
    if isinstance(index, str) and index.isdecimal():
        index = int(index)
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(cluster[role]):
        raise _wrong(f"task index {index} is not from 0 to {len(cluster[role]) - 1}, the {role} tasks of it", text)
    return index + sum(len(cluster.get(before, ())) for before in ROLES[: ROLES.index(role)])


def _wrong(what: str, text: str) -> UsageError:
    return UsageError(f"{VARIABLE} {what}: {_short(text)}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:157] + "..."
