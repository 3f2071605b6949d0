"""What a job on Dataflow gets where the user names nothing: workers, labels, name, and this package for the workers.

The one place for these values; each gives way to Beam's own option of the same name.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from apache_beam.options.pipeline_options import (
    DebugOptions,
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    WorkerOptions,
)

import pipelines
from pipelines.cli import UsageError

# 4 GB a core: a process with TensorFlow takes 0.6 GB, and a shard (--shard_mb) and the images of its threads are held.
MACHINE_TYPE = "n2-standard-4"
# The container with TensorFlow unpacks to some 5 GB; what is shuffled is kept by the service, not on this disk.
DISK_SIZE_GB = 50
# Bundles at once in each process, and there is a process for each core. Bundles have threads of their own (--threads):
# more of them would hold more shards in memory and be no faster.
HARNESS_THREADS = 2
# A limit to what a mistake can cost; Dataflow chooses the number up to it.
MAX_WORKERS = 20
AUTOSCALING = "THROUGHPUT_BASED"
# All processes of a machine in one container, where they find one another's shared model (see `inference`).
EXPERIMENTS = ("use_sibling_sdk_workers",)
APPLICATION = "isic-lesion-pipelines"


def own_setup_file() -> str | None:
    """The setup.py of the checkout that this package runs from; None when it is an installed package."""
    path = Path(pipelines.__file__).resolve().parents[1] / "setup.py"
    return str(path) if path.is_file() and APPLICATION in path.read_text() else None


def _set_workers(options: PipelineOptions) -> None:
    workers, debug = options.view_as(WorkerOptions), options.view_as(DebugOptions)
    workers.machine_type = workers.machine_type or MACHINE_TYPE
    workers.disk_size_gb = workers.disk_size_gb or DISK_SIZE_GB
    workers.autoscaling_algorithm = workers.autoscaling_algorithm or AUTOSCALING
    if workers.autoscaling_algorithm != "NONE":
        workers.max_num_workers = workers.max_num_workers or max(MAX_WORKERS, workers.num_workers or 0)
    debug.number_of_worker_harness_threads = debug.number_of_worker_harness_threads or HARNESS_THREADS
    debug.experiments = debug.experiments or list(EXPERIMENTS)


def _set_code(options: PipelineOptions) -> None:
    """How the workers get this package: from the container that was named, else as a package made of the checkout."""
    setup = options.view_as(SetupOptions)
    if setup.setup_file:
        if not os.path.isfile(setup.setup_file):
            raise UsageError(f"--setup_file {setup.setup_file}: no such file")
        # Beam enters its folder, which a bare file name does not have.
        setup.setup_file = os.path.abspath(setup.setup_file)
        return
    if options.view_as(WorkerOptions).sdk_container_image:
        return
    setup.setup_file = own_setup_file()
    if not setup.setup_file:
        raise UsageError(
            "--runner DataflowRunner: the workers need this package, which does not run from a checkout here; name "
            "--sdk_container_image with an image that holds it, or --setup_file with the setup.py of a checkout"
        )


def set_dataflow_defaults(options: PipelineOptions, command: str) -> None:
    """Fill in what the user left open. command: for the job's name and labels, such as prepare.

    Raises UsageError when the workers could not get this package.
    """
    cloud = options.view_as(GoogleCloudOptions)
    now = datetime.datetime.now(datetime.UTC)
    cloud.job_name = cloud.job_name or f"isic-{command}-{now:%Y%m%d-%H%M%S}"
    # Of two labels with one key the last counts: the user's own.
    cloud.labels = [f"application={APPLICATION}", f"command={command}", *(cloud.labels or [])]
    _set_workers(options)
    _set_code(options)
