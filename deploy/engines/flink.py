"""Run a Flink cluster on this machine: a JobManager, two TaskManagers and Beam's job server."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.engines.downloads import (
    FLINK_JARS,
    FLINK_SCRIPTS,
    ROOT,
    copy_jars,
    download_once,
    unpack_package,
)
from deploy.engines.processes import Services, free_ports, get_json, listens

CONFIGURATION = ROOT / "deploy" / "flink"
TASK_MANAGERS = 2
_JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"


def _fill(folder: Path) -> None:
    unpack_package(FLINK_JARS, "deps", folder)
    for part in ("bin", "conf"):
        unpack_package(FLINK_SCRIPTS, f"pyflink/{part}", folder / part)
    for script in (folder / "bin").iterdir():
        script.chmod(0o755)


def download_flink() -> tuple[Path, Path]:
    """Return Flink's distribution and the folder of the job server's jars, downloaded on first use."""
    home = download_once(f"flink-{FLINK_JARS.version}", _fill)
    jars = download_once(
        "flink-job-server-2.70.0",
        lambda folder: copy_jars(CONFIGURATION / "pom.xml", CONFIGURATION / "jars.sha256", folder),
    )
    return home, jars


@dataclass(frozen=True)
class Flink:
    """A running cluster.

    Attributes:
        services: JobManager, TaskManagers and job server.
        job_endpoint: Where Beam sends jobs.
        rest: Flink's REST interface and page.
    """

    services: Services
    job_endpoint: str
    rest: str


@contextlib.contextmanager
def running_flink(folder: Path) -> Iterator[Flink]:
    """Run a cluster as long as the block; logs and temporary files go to the folder."""
    home, jars = download_flink()
    rpc_port, rest_port, job_port, artifact_port = free_ports(4)
    configuration = folder / "conf"
    configuration.mkdir(parents=True)
    for source in (CONFIGURATION / "config.yaml", home / "conf" / "log4j-console.properties"):
        shutil.copy(source, configuration)
    environment = {
        "FLINK_CONF_DIR": str(configuration),
        "FLINK_LOG_DIR": str(folder),
        "FLINK_PID_DIR": str(folder),
    }
    rest = f"http://localhost:{rest_port}"
    addresses = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": str(rpc_port),
        "jobmanager.bind-host": "localhost",
        "rest.address": "localhost",
        "rest.port": str(rest_port),
        "rest.bind-address": "localhost",
        "taskmanager.host": "localhost",
        "taskmanager.bind-host": "localhost",
    }

    def task_managers() -> int:
        try:
            return int(get_json(f"{rest}/overview")["taskmanagers"])
        except OSError:
            return -1

    def start(services: Services, name: str, script: str, ready: int) -> None:
        temporary = folder / name
        temporary.mkdir()
        properties = {**addresses, "io.tmp.dirs": str(temporary)}
        services.start(
            name,
            [
                home / "bin" / script,
                "start-foreground",
                *(part for key, value in properties.items() for part in ("-D", f"{key}={value}")),
            ],
            lambda: task_managers() >= ready,
            environment,
        )

    with Services(folder) as services:
        start(services, "jobmanager", "jobmanager.sh", 0)
        for number in range(1, TASK_MANAGERS + 1):
            start(services, f"taskmanager-{number}", "taskmanager.sh", number)
        path = [*(home / "lib").glob("flink-dist-*.jar"), *(home / "lib").glob("log4j-*.jar"), jars / "*"]
        services.start(
            "job-server",
            [
                *("java", "-Xmx512m"),
                *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.lang", "java.nio", "java.util")),
                f"-Dlog4j.configurationFile=file:{configuration / 'log4j-console.properties'}",
                f"-Dlog.file={folder / 'job-server-rolling.log'}",
                *("-classpath", os.pathsep.join(map(str, path)), _JOB_SERVER),
                *("--job-port", str(job_port), "--artifact-port", str(artifact_port), "--expansion-port", "-1"),
                *("--flink-master", f"localhost:{rest_port}", "--flink-conf-dir", configuration),
                *("--artifacts-dir", folder / "staging"),
            ],
            lambda: listens(job_port),
        )
        yield Flink(services, f"localhost:{job_port}", rest)
