"""Set the defaults of a Dataflow job: workers, labels, name, and how the workers get this package.

All of these values are defined here. Beam's own option of the same name overrides each of them.
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
from pipelines.common.cli import UsageError

# 4 GB per core: a process with TensorFlow takes 0.6 GB, and it also holds a shard (--shard_mb) and the images of its
# threads.
MACHINE_TYPE = "n2-standard-4"
# The container with TensorFlow unpacks to about 5 GB. Shuffled data is kept by the service, not on this disk.
DISK_SIZE_GB = 50
# Bundles that each process works on at once; there is one process per core. Bundles have threads of their own
# (--threads), so more bundles would hold more shards in memory without being faster.
HARNESS_THREADS = 2
# Limits what a mistake can cost. Dataflow chooses the number of workers up to this.
MAX_WORKERS = 20
AUTOSCALING = "THROUGHPUT_BASED"
# Run all processes of a machine in one container, where they can share a model (see `inference`).
EXPERIMENTS = ("use_sibling_sdk_workers",)
APPLICATION = "isic-lesion-pipelines"


def own_setup_file() -> str | None:
    """Return the path of setup.py in the checkout that this package runs from, or None if the package is installed."""
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
    """Choose how the workers get this package: from the named container, or else built from the checkout."""
    setup = options.view_as(SetupOptions)
    if setup.setup_file:
        if not os.path.isfile(setup.setup_file):
            raise UsageError(f"--setup_file {setup.setup_file}: no such file")
        # Beam changes into the file's folder, and a bare file name has none.
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
    """Set the options that the user did not set.

    Args:
        options: Options of a Dataflow job; modified in place.
        command: The command, such as prepare, for the job's name and labels.

    Raises:
        UsageError: The workers would have no way to get this package.
    """
    cloud = options.view_as(GoogleCloudOptions)
    now = datetime.datetime.now(datetime.UTC)
    cloud.job_name = cloud.job_name or f"isic-{command}-{now:%Y%m%d-%H%M%S}"
    # If two labels have the same key, the last one wins: the user's own.
    cloud.labels = [f"application={APPLICATION}", f"command={command}", *(cloud.labels or [])]
    _set_workers(options)
    _set_code(options)
