"""Check, before a job is submitted, that remote workers can reach its paths and that these credentials have access."""

from __future__ import annotations

from collections.abc import Iterable

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines.beam.runner import is_dataflow
from pipelines.common.cli import UsageError
from pipelines.storage.filesystem import is_local, printable
from pipelines.storage.gcs_access import require_readable, require_writable
from pipelines.storage.path_lists import is_path_list, list_paths, require_path_list

# Option that names the path, and the path.
Place = tuple[str, str]


def _require_shared(option: str, path: str) -> None:
    if is_local(path):
        raise UsageError(
            f"{option} {printable(path)}: is on this machine; workers of DataflowRunner cannot reach it; "
            "name a gs:// path"
        )


def _require_shared_entries(option: str, path: str) -> None:
    require_path_list(option, path)
    entry = next(filter(is_local, list_paths(path)), None)
    if entry is not None:
        raise UsageError(
            f"{option} {printable(path)}: lists {printable(entry)}, which is on this machine; workers of "
            "DataflowRunner cannot reach it; list gs:// paths, or paths relative to the list"
        )


def require_reachable(options: PipelineOptions, inputs: Iterable[Place], others: Iterable[Place]) -> None:
    """Raise UsageError for the first path that Dataflow workers cannot reach.

    Other runners are not checked, because the machines of a cluster may share a filesystem with this one.

    Args:
        options: Beam's options.
        inputs: (option, path) of images. A path may be a list of paths, whose entries are then checked too.
        others: (option, path) of whatever else workers read or write. Leave out files that only this machine reads,
            such as a file of sources or classes.

    Raises:
        UsageError: A path, or an entry of a list of paths, is on this machine.
    """
    if not is_dataflow(options):
        return
    for option, path in inputs:
        _require_shared(option, path)
        if is_path_list(path):
            _require_shared_entries(option, path)
    for option, path in others:
        _require_shared(option, path)


def require_access(options: PipelineOptions, places: Iterable[Place]) -> None:
    """Raise UsageError for the first `gs://` path that these credentials cannot access.

    Beam's own paths (--temp_location, --staging_location) must be writable. `output.require_output` checks the output.

    Args:
        options: Beam's options.
        places: (option, path) that must be readable.

    Raises:
        UsageError: A path is not readable or not writable.
    """
    for option, path in places:
        require_readable(option, path)
    cloud = options.view_as(GoogleCloudOptions)
    for option in ("temp_location", "staging_location"):
        require_writable(f"--{option}", getattr(cloud, option) or "")
