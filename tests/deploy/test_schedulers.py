"""The manifests in deploy/: they parse, say what their schemas need, and their commands are ours."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.common.cli import EXIT_RESTART, UsageError
from tests.support.tiny_dataset import ROOT
from trainer.distribution.cluster import read_cluster
from trainer.distribution.tf_config import expand_counts, expand_nodes, kubernetes_config, slurm_config
from trainer.task.command_line import parse_options

DEPLOY = ROOT / "deploy"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def assert_ours(arguments: Sequence[str]) -> None:
    options = parse_options(arguments)
    assert options.strategy == "multi_worker"
    assert options.output.endswith("/lesions")


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("gpu1", ["gpu1"]),
        ("gpu[1-3]", ["gpu1", "gpu2", "gpu3"]),
        ("gpu[08-10,12],login", ["gpu08", "gpu09", "gpu10", "gpu12", "login"]),
        ("r[1-2]n[1-2]-ib", ["r1n1-ib", "r1n2-ib", "r2n1-ib", "r2n2-ib"]),
    ],
)
def test_slurm_node_lists_are_expanded_to_their_nodes(text: str, nodes: list[str]) -> None:
    assert expand_nodes(text) == nodes


def test_slurm_tasks_are_blocks_on_nodes() -> None:
    assert expand_counts("2(x3),1") == [2, 2, 2, 1]
    environ = {"SLURM_STEP_NODELIST": "n[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_PROCID": "2"}
    cluster = read_cluster({"TF_CONFIG": slurm_config(environ, 4000)})
    assert cluster is not None
    assert cluster.addresses == ("n1:4000", "n1:4001", "n2:4000")
    assert cluster.rank == 2
    with pytest.raises(UsageError, match="SLURM_PROCID is not set: start this with srun"):
        slurm_config({**{key: environ[key] for key in environ if key != "SLURM_PROCID"}})
    with pytest.raises(UsageError, match="disagree: 2 nodes, tasks"):
        slurm_config({**environ, "SLURM_STEP_TASKS_PER_NODE": "2"})


def test_kubernetes_pods_find_each_other() -> None:
    cluster = read_cluster({"TF_CONFIG": kubernetes_config({"JOB_COMPLETION_INDEX": "1"}, "job", "svc", 2)})
    assert cluster is not None
    assert (cluster.addresses, cluster.rank) == (("job-0.svc:2222", "job-1.svc:2222"), 1)
    for index in ("2", "", "x"):
        with pytest.raises(UsageError, match=f"JOB_COMPLETION_INDEX '{index}' is not from 0 to 1"):
            kubernetes_config({"JOB_COMPLETION_INDEX": index}, "job", "svc", 2)


def test_the_kubernetes_job_is_indexed_retried_on_preemption_alone_and_its_options_are_ours() -> None:
    service, job = documents("kubernetes.yaml")
    assert (service["apiVersion"], service["kind"], service["spec"]["clusterIP"]) == ("v1", "Service", "None")
    assert (job["apiVersion"], job["kind"], job["spec"]["completionMode"]) == ("batch/v1", "Job", "Indexed")
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"]
    # What a podFailurePolicy needs.
    assert pod["restartPolicy"] == "Never"
    rules = {
        rule["action"]: rule["onExitCodes"]["values"]
        for rule in job["spec"]["podFailurePolicy"]["rules"]
        if "onExitCodes" in rule
    }
    assert rules == {"Ignore": [EXIT_RESTART], "FailJob": [2]}
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}

    # The shell line, with the programs it starts: a TF_CONFIG of this very job, and options that are ours.
    script = container["args"][0].replace("exec python -m trainer.task", 'printf "%s\\n" "$TF_CONFIG"; printf "%s\\n"')
    done = subprocess.run(
        [*container["command"], script.replace("python -m", f"{shlex.quote(sys.executable)} -m")],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "JOB_COMPLETION_INDEX": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config, *arguments = done.stdout.splitlines()
    cluster = read_cluster({"TF_CONFIG": config})
    assert cluster is not None
    assert (cluster.size, cluster.rank) == (job["spec"]["completions"], 3)
    assert (
        cluster.addresses[0] == f"{job['metadata']['name']}-0.{pod['subdomain']}:{service['spec']['ports'][0]['port']}"
    )
    assert_ours(arguments)


def test_the_vertex_ai_job_restarts_whole_and_its_options_are_ours() -> None:
    (job,) = documents("vertex_ai.yaml")
    assert job.keys() == {"workerPoolSpecs", "scheduling"}
    assert job["scheduling"]["restartJobOnWorkerRestart"] is True
    assert re.fullmatch(r"\d+s", job["scheduling"]["timeout"])
    chief, workers = job["workerPoolSpecs"]
    assert chief["replicaCount"] == 1
    for pool in (chief, workers):
        assert pool.keys() == {"machineSpec", "replicaCount", "containerSpec"}
        assert pool["machineSpec"].keys() == {"machineType", "acceleratorType", "acceleratorCount"}
        assert_ours(pool["containerSpec"]["args"])


def test_the_tfjob_restarts_failed_replicas_and_its_options_are_ours() -> None:
    (job,) = documents("tfjob.yaml")
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    replicas = job["spec"]["tfReplicaSpecs"]
    assert replicas.keys() == {"Chief", "Worker"}
    assert replicas["Chief"]["replicas"] == 1
    for spec in replicas.values():
        assert spec["restartPolicy"] == "OnFailure"
        (container,) = spec["template"]["spec"]["containers"]
        assert container["name"] == "tensorflow"
        assert_ours(container["args"])


SRUN = """#!/bin/bash
# Stands for Slurm: one task of four.
while [[ $1 == -* ]]; do shift; done
export SLURM_STEP_NODELIST=node[1-4] SLURM_STEP_TASKS_PER_NODE='1(x4)' SLURM_PROCID=1
exec "$@"
"""
PYTHON = f"""#!/bin/bash
if [ "$2" = trainer.task ]; then echo "$TF_CONFIG"; shift 2; printf '%s\\n' "$@"; exit 75; fi
exec {sys.executable} "$@"
"""
SCONTROL = '#!/bin/bash\necho "scontrol $*"\n'


def test_the_slurm_script_gives_tf_config_and_queues_again(tmp_path: Path) -> None:
    script = DEPLOY / "slurm.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    for name, text in (("srun", SRUN), ("python", PYTHON), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [script, "/data/my dataset", "/runs/lesions", "--epochs=3"],
        capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PATH": path, "SLURM_JOB_ID": "17"},
    )  # fmt: skip
    assert done.returncode == EXIT_RESTART, done.stderr
    config, *arguments, queued = done.stdout.splitlines()
    assert json.loads(config)["cluster"]["worker"] == [f"node{n}:2222" for n in range(1, 5)]
    cluster = read_cluster({"TF_CONFIG": config})
    assert cluster is not None
    assert cluster.rank == 1
    assert_ours(arguments)
    assert parse_options(arguments).dataset == "/data/my dataset"
    assert queued == "scontrol requeue 17"
