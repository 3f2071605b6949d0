"""Run a Spark cluster on this machine: a master, two workers, Beam's job server, our workers.

`python -m deploy.engines.spark` runs one until Ctrl-C and says with which options our commands use it.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.engines.downloads import ENGINES, ROOT, SPARK, copy_jars, download_once, unpack_package
from deploy.engines.engine import MACHINES, Engine, names_on_machine, serve, start_pools
from deploy.engines.processes import Services, free_ports, get_json, listens

CONFIGURATION = ROOT / "deploy" / "spark"
# Of Beam's runner in pom.xml.
RUNNER_VERSION = "2.70.0"
SPARK_HOME = ENGINES / f"spark-{SPARK.version}-beam-{RUNNER_VERSION}"
# The pool of the machine of each. They are at the addresses of these: Spark starts a task again beside itself only on
# another machine.
WORKERS = {"worker-1": "workers-1", "worker-2": "workers-2"}
CORES_PER_WORKER = 2
# Spark keeps what is used twice. By default what does not fit in memory is made again, images and all.
JOB_OPTIONS = ("--storage_level", "MEMORY_AND_DISK")
_JOB_SERVER = "org.apache.beam.runners.spark.SparkJobServerDriver"


def _fill(folder: Path) -> None:
    unpack_package(SPARK, "deps", folder)
    for part in folder.iterdir():
        if part.name not in ("bin", "jars", "licenses"):
            shutil.rmtree(part)
    for script in (folder / "bin").iterdir():
        script.chmod(0o755)
    copy_jars(CONFIGURATION / "pom.xml", CONFIGURATION / "jars.sha256", folder / "beam")


def download_spark() -> Path:
    """Return Spark's distribution with Beam's runner in `beam`, downloaded on first use."""
    return download_once(SPARK_HOME.name, _fill)


def daemon(home: Path, name: str) -> list[str]:
    """Return the command line of a Master or Worker, without its own options.

    Args:
        home: Spark's distribution.
        name: `Master` or `Worker`.
    """
    return [f"{home}/bin/spark-class", f"org.apache.spark.deploy.{name.lower()}.{name}"]


def job_server(home: Path, master: str, slots: int, properties: Mapping[str, str]) -> list[str]:
    """Return the command line of Beam's job server, without its own options.

    Args:
        home: Spark's distribution with Beam's runner.
        master: Address of Spark's master.
        slots: Number of tasks that a job runs at once.
        properties: Spark's properties besides those of the configuration.
    """
    jars = f"{home}/beam/*"
    all_properties = {
        # Where executors find Beam's runner too, so no jar has to be sent to them with each job.
        "spark.driver.extraClassPath": jars,
        "spark.executor.extraClassPath": jars,
        "spark.cores.max": str(slots),
        # Without it, a job is cut for as many executors as have come by the time that it starts.
        "spark.default.parallelism": str(slots),
        **properties,
    }
    given = [part for key, value in all_properties.items() for part in ("--conf", f"{key}={value}")]
    # `spark-internal`: no jar of its own. The master is named to Spark alone: if Beam knows it too, it sends all jars
    # of the class path with each job, and each job has a class loader of its own: our workers then end with their task.
    return [f"{home}/bin/spark-submit", "--master", master, *given, "--class", _JOB_SERVER, "spark-internal"]


@dataclass(frozen=True)
class _Cluster:
    home: Path
    folder: Path
    services: Services
    properties: Mapping[str, str]
    master_port: int
    page_port: int
    shuffle_port: int
    job_port: int
    artifact_port: int

    @property
    def master(self) -> str:
        return f"spark://localhost:{self.master_port}"

    @property
    def page(self) -> str:
        return f"http://localhost:{self.page_port}"

    @property
    def configuration(self) -> Path:
        return self.folder / "conf"

    def configure(self) -> None:
        self.configuration.mkdir(parents=True)
        shutil.copy(CONFIGURATION / "spark-defaults.conf", self.configuration)
        with (self.configuration / "spark-defaults.conf").open("a") as file:
            # The shuffle service cannot be told to listen here alone.
            file.write(f"spark.authenticate true\nspark.authenticate.secret {secrets.token_hex()}\n")

    def environment(self) -> dict[str, str]:
        return {
            "SPARK_HOME": str(self.home),
            "SPARK_CONF_DIR": str(self.configuration),
            "SPARK_LOCAL_DIRS": str(self.folder),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_HOSTNAME": "localhost",
        }

    def workers(self) -> int:
        """Return the number of workers that have come to the master; -1 if that does not answer."""
        try:
            return int(get_json(f"{self.page}/json/")["aliveworkers"])
        except OSError:
            return -1

    def start_master(self) -> None:
        ports = ("--port", str(self.master_port), "--webui-port", str(self.page_port))
        command = [*daemon(self.home, "Master"), "--host", "localhost", *ports]
        self.services.start("master", command, lambda: self.workers() >= 0, self.environment())

    def start_shuffle_service(self) -> None:
        """Start what serves the shuffles of executors, also of those that have ended: one for a machine."""
        command = [f"{self.home}/bin/spark-class", "org.apache.spark.deploy.ExternalShuffleService"]
        options = {"SPARK_SHUFFLE_OPTS": f"-Dspark.shuffle.service.port={self.shuffle_port}"}
        self.services.start(
            "shuffle-service", command, lambda: listens(self.shuffle_port), self.environment() | options
        )

    def start_worker(self, name: str) -> None:
        """Start a worker. It starts an executor for each job."""
        pool = WORKERS[name]
        resources = ("--cores", str(CORES_PER_WORKER), "--memory", "1g")
        command = [
            *(*daemon(self.home, "Worker"), "--host", MACHINES[pool], "--webui-port", "0", *resources),
            *("--work-dir", f"{self.folder}/{name}", self.master),
        ]
        options = {
            # Each would start a shuffle service, on the same port.
            "SPARK_WORKER_OPTS": "-Dspark.shuffle.service.enabled=false",
            # Executors inherit it.
            "JAVA_TOOL_OPTIONS": names_on_machine(self.folder, pool),
        }
        self.services.start(name, command, lambda: True, self.environment() | options)

    def start_job_server(self, slots: int) -> None:
        """Start Beam's job server, which is the driver of the jobs: what it is started with holds for all of them."""
        properties = {"spark.ui.port": "0", "spark.shuffle.service.port": str(self.shuffle_port), **self.properties}
        command = [
            *job_server(self.home, self.master, slots, properties),
            *("--job-host", "localhost", "--job-port", str(self.job_port)),
            *("--artifact-port", str(self.artifact_port), "--expansion-port", "-1"),
            *("--artifacts-dir", f"{self.folder}/staging"),
        ]
        self.services.start(
            "job-server", command, lambda: listens(self.job_port) and self.workers() == len(WORKERS), self.environment()
        )


@contextlib.contextmanager
def running_spark(
    folder: Path, environment: Mapping[str, str] | None = None, properties: Mapping[str, str] | None = None
) -> Iterator[Engine]:
    """Run a standalone cluster as long as the block.

    Its services are `master`, `shuffle-service`, `workers-1` and `workers-2` (ours), `worker-1`, `worker-2` and
    `job-server`.

    Args:
        folder: Where logs and temporary files go; new.
        environment: What the environment of our workers has besides.
        properties: Spark's properties of the jobs, besides those of spark-defaults.conf.
    """
    home = download_spark()
    with Services(folder) as services:
        cluster = _Cluster(home, folder, services, properties or {}, *free_ports(5))
        cluster.configure()
        cluster.start_master()
        cluster.start_shuffle_service()
        workers = start_pools(services, environment)
        for name in WORKERS:
            cluster.start_worker(name)
        cluster.start_job_server(len(WORKERS) * CORES_PER_WORKER)

        def set_slots(slots: int) -> list[str]:
            services.stop("job-server")
            cluster.start_job_server(slots)
            return []

        runner = ["--runner", "SparkRunner", "--job_endpoint", f"localhost:{cluster.job_port}"]
        yield Engine(services, cluster.page, [*runner, *workers, *JOB_OPTIONS], set_slots)


if __name__ == "__main__":
    sys.exit(serve("spark", running_spark))
