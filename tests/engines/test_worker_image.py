"""The image of the workers, built as a root file system, prepares as on Dataflow and scores as in a pool: as elsewhere.

Workers see the image's files, their data, and no package index. Run by `make image-check`, as root.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.container.root_filesystem import Image, build_image
from deploy.engines.processes import Services, free_ports, listens
from tests.engines.conftest import require_programs
from tests.engines.test_same_results import ALL, said, same_scores
from tests.support.commands import Command
from tests.support.engines import Inputs, Places, digests, prepare, score_arguments
from tests.support.scoring import only_partition
from tests.support.tiny_dataset import ROOT

pytestmark = pytest.mark.image

# The user of the pool's image.
USER = "10001"
# What the image and its base take, and as much for a job.
BYTES_NEEDED = 12 * 2**30
# Proves that a worker starts with what it has.
WITHOUT_INDEX = {"PIP_NO_INDEX": "1"}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    require_programs("image")
    with tempfile.TemporaryDirectory(prefix="isic-image-") as folder:
        assert shutil.disk_usage(folder).free > BYTES_NEEDED, f"{folder}: 12 GB are needed"
        yield build_image("pool", Path(folder) / "root")
        # Whatever ran in it is gone, with its mounts.
        assert folder not in Path("/proc/self/mountinfo").read_text()


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    with Services(tmp_path / "logs") as running:
        yield running


def start_job_server(services: Services) -> list[str]:
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "--port", str(port)]
    services.start("job-server", command, lambda: listens(port))
    return ["--runner", "PortableRunner", "--job_endpoint", f"localhost:{port}"]


def start_pool(services: Services, command: Callable[[str], list[str]]) -> list[str]:
    (port,) = free_ports(1)
    services.start("workers", command(str(port)), lambda: listens(port))
    return ["--environment_type", "EXTERNAL", "--environment_config", f"localhost:{port}"]


@pytest.fixture
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What workers see of this machine: inputs and outputs."""
    return tmp_path_factory.getbasetemp()


def test_a_worker_that_starts_as_on_dataflow_prepares_the_same_bytes(
    command: Command,
    image: Image,
    services: Services,
    inputs: Inputs,
    local: Places,
    shared: Path,
    tmp_path: Path,
) -> None:
    # Stands for the service's `docker run`: the image's entry point with the addresses of the job.
    start, log = tmp_path / "start", services.log("boot")
    boot = image.command(["/opt/apache/beam/boot"], [shared], environment=WITHOUT_INDEX)
    start.write_text(f'#!/bin/sh\nexec {shlex.join(boot)} "$@" >>{log} 2>&1\n')
    start.chmod(0o755)
    runner = start_job_server(services)
    pool = ("apache_beam.runners.worker.worker_pool_main", "--container_executable", str(start))
    runner += start_pool(services, lambda port: [sys.executable, "-m", *pool, "--service_port", port])
    # The checkout's code is staged, as for Dataflow, and installed beside the image's.
    done = prepare(command, inputs, str(tmp_path / "out"), *runner, "--setup_file", ROOT / "setup.py")
    assert done.returncode == 0, done.stderr + log.read_text()
    assert digests(tmp_path / "out", *ALL) == digests(local.folder / "dataset", *ALL)
    assert said(done) == said(local.prepared)
    # What it fetches it installs, or it does not start the worker.
    assert "Downloaded: /tmp/staged/workflow.tar.gz" in log.read_text()


def test_the_pool_and_the_command_score_as_its_user(
    image: Image, services: Services, inputs: Inputs, local: Places
) -> None:
    def in_image(*program: str) -> list[str]:
        return image.command(["python", "-m", *program], [folder], USER, WITHOUT_INDEX)

    # No folder of pytest's lets another user in.
    with tempfile.TemporaryDirectory(prefix="isic-shared-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        own = Inputs(f"{folder}/sample", f"{folder}/model")
        shutil.copytree(inputs.sample, own.sample)
        shutil.copytree(inputs.model, own.model)
        runner = start_job_server(services)
        runner += start_pool(services, lambda port: in_image("pipelines.beam.worker_pool", "--port", port))
        command = in_image(*map(str, score_arguments(own, f"{folder}/scores")), *runner)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + services.log("workers").read_text()
        found = only_partition(folder / "scores")
        same_scores(found, only_partition(local.folder / "scores"), inputs.sample, own.sample)
        assert found.stat().st_uid == int(USER)
