"""Flink on Kubernetes is the cluster that the proofs run: the same options, the same job server, our workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.engines.flink import CONFIGURATION, TASK_MANAGERS, job_server


@pytest.fixture
def documents() -> dict[str, dict[str, Any]]:
    found = list(yaml.safe_load_all((CONFIGURATION / "deployment.yaml").read_text()))
    return {document["kind"]: document for document in found}


def flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value).lower() if isinstance(value, bool) else str(value)


def test_options_are_those_of_the_configuration(documents: dict[str, dict[str, Any]]) -> None:
    spec = documents["FlinkDeployment"]["spec"]
    memory = {
        f"{name.lower()}.memory.process.size": spec[name]["resource"]["memory"]
        for name in ("jobManager", "taskManager")
    }
    options = dict(flat(yaml.safe_load((CONFIGURATION / "config.yaml").read_text())))
    # The image has them with the configuration.
    options.pop("env.java.opts.all")
    assert {**spec["flinkConfiguration"], **memory} == options
    assert spec["taskManager"]["replicas"] == len(TASK_MANAGERS)


def test_each_task_manager_has_a_worker_beside_it(documents: dict[str, dict[str, Any]]) -> None:
    pod = documents["FlinkDeployment"]["spec"]["taskManager"]["podTemplate"]["spec"]
    flink, worker = pod["containers"]
    # The name by which the operator knows its own.
    assert flink["name"] == "flink-main-container"
    assert worker["command"] == ["python", "-m", "pipelines.beam.worker_pool", "--port", "50000"]
    assert worker["volumeMounts"] == flink["volumeMounts"]
    claim = documents["PersistentVolumeClaim"]["metadata"]["name"]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]] == [claim]


def test_the_job_server_is_that_of_the_engine(documents: dict[str, dict[str, Any]]) -> None:
    pod = documents["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    home = Path("/opt/flink")
    assert container["command"] == job_server(home, home / "conf", Path("/tmp/job-server.log"))
    assert container["image"] == documents["FlinkDeployment"]["spec"]["image"]
    staging = documents["FlinkDeployment"]["spec"]["taskManager"]["podTemplate"]["spec"]["containers"][1][
        "volumeMounts"
    ]
    assert container["volumeMounts"] == staging
    assert f"--artifacts-dir={staging[0]['mountPath']}" in container["args"]
    # The operator's name for the JobManager's REST interface.
    assert f"--flink-master={documents['FlinkDeployment']['metadata']['name']}-rest:8081" in container["args"]
    service = documents["Service"]["spec"]
    assert service["selector"] == pod["metadata"]["labels"]
    assert {port["port"] for port in service["ports"]} == {port["containerPort"] for port in container["ports"]}
