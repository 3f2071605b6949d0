"""Who takes part in a run: TF_CONFIG, read and checked. Imports no TensorFlow.

TF_CONFIG is what Vertex AI, Kubeflow's TFJob and `trainer.tf_config` set for each process of a run:

    {"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}

The tasks are those of `chief`, if there is one, and then those of `worker`. The first is the chief of the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.cli import UsageError

VARIABLE = "TF_CONFIG"
# In the order of ranks, which is TensorFlow's own.
ROLES = ("chief", "worker")


@dataclass(frozen=True)
class Cluster:
    """Addresses ("host:port") of all workers by rank, and the rank of this process."""

    addresses: tuple[str, ...]
    rank: int = 0

    @property
    def size(self) -> int:
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        return self.rank == 0

    def name(self, rank: int) -> str:
        """How a worker is called in messages."""
        return f"worker {rank} ({self.addresses[rank]})"


ALONE = Cluster(("localhost",))


def split_address(address: str) -> tuple[str, int]:
    """(host, port) of "host:port"; ValueError for anything else. An IPv6 host stands in brackets."""
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 1 <= int(port) <= 65535):
        raise ValueError(address)
    return host.removeprefix("[").removesuffix("]"), int(port)


def read_cluster(environ: Mapping[str, str] = os.environ) -> Cluster | None:
    """The cluster of TF_CONFIG, None without one. UsageError, in one line, for one that cannot be used."""
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
    """The workers of this run. UsageError if --strategy and TF_CONFIG do not go together."""
    if strategy == "multi_worker" and cluster is None:
        raise UsageError(
            "--strategy multi_worker needs TF_CONFIG, which says who the workers are: see docs/training.md, or use "
            "python -m trainer.local_cluster for several processes on this machine"
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
    # Some schedulers write the index as text.
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
