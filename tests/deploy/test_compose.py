"""Clusters for one machine: the files parse, their releases are ours, workers and services find one another."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.engines import flink, spark
from pipelines.beam.runner import beam_options
from pipelines.score.options import parse_options
from tests.support.tiny_dataset import ROOT

COMPOSE = ROOT / "deploy" / "compose"
CLUSTERS = {"flink": "taskmanager", "spark": "executor"}
STAGING = "/tmp/beam-artifact-staging"


@pytest.fixture(params=CLUSTERS)
def cluster(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def text(cluster: str) -> str:
    return (COMPOSE / f"{cluster}.yaml").read_text()


@pytest.fixture
def file(text: str) -> dict[str, Any]:
    return yaml.safe_load(text)


def test_flink_is_that_of_the_engine() -> None:
    services = yaml.safe_load((COMPOSE / "flink.yaml").read_text())["services"]
    assert {services[name]["image"] for name in ("jobmanager", "taskmanager", "jobserver")} == {"isic-flink"}
    home = Path("/opt/flink")
    assert services["jobserver"]["entrypoint"] == flink.job_server(home, home / "conf", Path("/tmp/job-server.log"))
    for name in ("jobmanager", "taskmanager"):
        assert services[name]["entrypoint"] == [f"/opt/flink/bin/{name}.sh", "start-foreground"]
        assert "jobmanager.rpc.address=jobmanager" in services[name]["command"]


def test_spark_is_that_of_the_engine() -> None:
    services = yaml.safe_load((COMPOSE / "spark.yaml").read_text())["services"]
    assert {services[name]["image"] for name in ("master", "executor", "jobserver")} == {"isic-spark"}
    home, master = Path("/opt/spark"), "spark://master:7077"
    assert services["jobserver"]["entrypoint"] == spark.job_server(home, master, 2, {})
    assert services["master"]["entrypoint"] == spark.daemon(home, "Master")
    assert services["executor"]["entrypoint"] == spark.daemon(home, "Worker")
    cores, memory = (services["executor"]["command"].index(option) + 1 for option in ("--cores", "--memory"))
    assert services["executor"]["command"][cores] == str(spark.CORES_PER_WORKER)
    assert f"spark.executor.memory {services['executor']['command'][memory]}" in " ".join(
        (spark.CONFIGURATION / "spark-defaults.conf").read_text().split()
    )
    assert services["executor"]["command"][-1] == master


def test_services_and_volumes_that_are_named_exist(file: dict[str, Any]) -> None:
    services = file["services"]
    for service in services.values():
        assert set(service.get("depends_on", ())) <= services.keys()
        named = [volume.partition(":")[0] for volume in service.get("volumes", ()) if not volume.startswith("$")]
        assert set(named) <= file["volumes"].keys()


def test_workers_stand_beside_the_cluster_and_see_what_it_is_sent(file: dict[str, Any], cluster: str) -> None:
    services, beside = file["services"], CLUSTERS[cluster]
    assert services["worker"]["network_mode"] == f"service:{beside}"
    assert services["worker"]["image"] == services["submit"]["image"] == "isic-pool"
    for name in ("worker", beside, "jobserver"):
        assert f"staging:{STAGING}" in services[name]["volumes"]
    assert f"--artifacts-dir={STAGING}" in services["jobserver"]["command"]
    assert "--job-host=jobserver" in services["jobserver"]["command"]
    data = [volume for name in ("worker", "submit") for volume in services[name]["volumes"] if volume.startswith("$")]
    assert len(data) == 2
    assert len(set(data)) == 1


def test_nothing_is_open_to_the_network(file: dict[str, Any]) -> None:
    ports = [port for service in file["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_command_on_top_is_one_of_ours(text: str, cluster: str) -> None:
    comment = "\n".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    (line,) = re.findall(r"run --rm submit (pipelines\.score .*?)\n(?!-)", comment.replace("\\\n", "") + "\n")
    options, rest = parse_options(shlex.split(line)[1:])
    beam = beam_options(rest).get_all_options()
    assert options.output.startswith("/data/")
    assert (beam["job_endpoint"], beam["environment_config"]) == ("jobserver:8099", "localhost:50000")
    assert ("--storage_level MEMORY_AND_DISK" in line) == (cluster == "spark")
