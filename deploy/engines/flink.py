"""Run a Flink cluster on this machine: a JobManager, two TaskManagers, Beam's job server, our workers.

`python -m deploy.engines.flink` runs one until Ctrl-C and says with which options our commands use it.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.engines.downloads import (
    ENGINES,
    FLINK_JARS,
    FLINK_SCRIPTS,
    ROOT,
    copy_jars,
    download_once,
    unpack_package,
)
from deploy.engines.engine import Engine, names_on_machine, serve, start_pools
from deploy.engines.processes import Services, free_ports, get_json, listens

CONFIGURATION = ROOT / "deploy" / "flink"
# Of Beam's runner in pom.xml.
RUNNER_VERSION = "2.70.0"
FLINK_HOME = ENGINES / f"flink-{FLINK_JARS.version}-beam-{RUNNER_VERSION}"
# The pool of the machine of each.
WORKERS_OF = {"taskmanager-1": "workers-1", "taskmanager-2": "workers-2"}
TASK_MANAGERS = tuple(WORKERS_OF)
LOG4J = "log4j-console.properties"
_JOB_SERVER = "org.apache.beam.runners.flink.FlinkJobServerDriver"
# What is opened is what Beam reflects on, which Java 17 forbids.
_OPENED = ("java.lang", "java.nio", "java.util")


def _fill(folder: Path) -> None:
    unpack_package(FLINK_JARS, "deps", folder)
    for part in ("bin", "conf"):
        unpack_package(FLINK_SCRIPTS, f"pyflink/{part}", folder / part)
    for script in (folder / "bin").iterdir():
        script.chmod(0o755)
    # Beam needs nothing else; Flink's SQL is most of it, and the job server sends its jars with each job.
    for jar in (folder / "lib").iterdir():
        if not jar.name.startswith(("flink-dist-", "log4j-")):
            jar.unlink()
    copy_jars(CONFIGURATION / "pom.xml", CONFIGURATION / "jars.sha256", folder / "lib" / "beam")


def download_flink() -> Path:
    """Return Flink's distribution with Beam's runner in lib/beam, downloaded on first use."""
    return download_once(FLINK_HOME.name, _fill)


def job_server(home: Path, configuration: Path, log: Path) -> list[str]:
    """Return the command line of Beam's job server, without its own options.

    Args:
        home: Flink's distribution with Beam's runner.
        configuration: The folder of Flink's configuration.
        log: What log4j's configuration calls `log.file`.
    """
    return [
        *("java", "-Xmx512m"),
        *(f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in _OPENED),
        f"-Dlog4j.configurationFile=file:{configuration / LOG4J}",
        f"-Dlog.file={log}",
        *("-classpath", f"{home}/lib/*:{home}/lib/beam/*", _JOB_SERVER),
    ]


@dataclass(frozen=True)
class _Layout:
    home: Path
    folder: Path
    rpc_port: int
    rest_port: int
    settings: Mapping[str, str]

    @property
    def rest(self) -> str:
        return f"http://localhost:{self.rest_port}"

    @property
    def configuration(self) -> Path:
        return self.folder / "conf"

    def command(self, name: str, script: str) -> list[str | Path]:
        """Return the command line of a JobManager or TaskManager, with a folder and addresses of its own."""
        temporary = self.folder / name
        temporary.mkdir()
        properties = {
            "jobmanager.rpc.address": "localhost",
            "jobmanager.rpc.port": self.rpc_port,
            "jobmanager.bind-host": "localhost",
            "rest.address": "localhost",
            "rest.bind-address": "localhost",
            "rest.port": self.rest_port,
            "taskmanager.host": "localhost",
            "taskmanager.bind-host": "localhost",
            "taskmanager.resource-id": name,
            "io.tmp.dirs": temporary,
            **self.settings,
        }
        given = [part for key, value in properties.items() for part in ("-D", f"{key}={value}")]
        return [self.home / "bin" / script, "start-foreground", *given]

    def environment(self, name: str) -> dict[str, str]:
        """Return the environment of a JobManager or TaskManager."""
        environment = {
            "FLINK_CONF_DIR": str(self.configuration),
            "FLINK_LOG_DIR": str(self.folder),
            "FLINK_PID_DIR": str(self.folder),
        }
        if name in WORKERS_OF:
            environment["FLINK_ENV_JAVA_OPTS_TM"] = names_on_machine(self.folder, WORKERS_OF[name])
        return environment

    def task_managers(self) -> int:
        """Return the number of TaskManagers that have come to the JobManager; -1 if that does not answer."""
        try:
            return int(get_json(f"{self.rest}/overview")["taskmanagers"])
        except OSError:
            return -1


@contextlib.contextmanager
def running_flink(
    folder: Path, environment: Mapping[str, str] | None = None, settings: Mapping[str, str] | None = None
) -> Iterator[Engine]:
    """Run a cluster as long as the block.

    Its services are `jobmanager`, `workers-1`, `workers-2`, `taskmanager-1`, `taskmanager-2` and `job-server`.

    Args:
        folder: Where logs and temporary files go; new.
        environment: What the workers' environment has besides.
        settings: What to set of Flink's configuration, besides config.yaml.
    """
    home = download_flink()
    rpc_port, rest_port, job_port, artifact_port = free_ports(4)
    layout = _Layout(home, folder, rpc_port, rest_port, settings or {})
    layout.configuration.mkdir(parents=True)
    shutil.copy(CONFIGURATION / "config.yaml", layout.configuration)
    shutil.copy(home / "conf" / LOG4J, layout.configuration)
    with Services(folder) as services:
        services.start(
            "jobmanager",
            layout.command("jobmanager", "jobmanager.sh"),
            lambda: layout.task_managers() >= 0,
            layout.environment("jobmanager"),
        )
        workers = start_pools(services, environment)
        for name in TASK_MANAGERS:
            services.start(name, layout.command(name, "taskmanager.sh"), lambda: True, layout.environment(name))
        services.start(
            "job-server",
            [
                *job_server(home, layout.configuration, folder / "job-server-4j.log"),
                *("--job-port", str(job_port), "--artifact-port", str(artifact_port), "--expansion-port", "-1"),
                *("--flink-master", f"localhost:{rest_port}", "--flink-conf-dir", layout.configuration),
                *("--artifacts-dir", folder / "staging"),
            ],
            lambda: listens(job_port) and layout.task_managers() == len(TASK_MANAGERS),
        )
        runner = ["--runner", "PortableRunner", "--job_endpoint", f"localhost:{job_port}"]
        yield Engine(services, layout.rest, [*runner, *workers])


def main(argv: Sequence[str] | None = None) -> int:
    """Run a cluster until Ctrl-C; return the exit code.

    Args:
        argv: The arguments after the program name; None for those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m deploy.engines.flink", description=__doc__)
    parser.add_argument(
        "-D",
        dest="settings",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of Flink's, besides those of deploy/flink/config.yaml; repeat for several",
    )
    settings = parser.parse_args(argv).settings
    if wrong := next((setting for setting in settings if "=" not in setting), ""):
        parser.error(f"-D {wrong}: is no KEY=VALUE")
    given = dict(setting.split("=", 1) for setting in settings)
    return serve("flink", lambda folder: running_flink(folder, settings=given))


if __name__ == "__main__":
    sys.exit(main())
