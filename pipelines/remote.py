"""Places that workers on other machines can read, and these credentials. Checked before anything is sent to them."""

from __future__ import annotations

from collections.abc import Iterable

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

from pipelines.cli import UsageError
from pipelines.gcs_access import require_readable, require_writable
from pipelines.path_lists import is_path_list, list_paths, require_path_list
from pipelines.runner import is_dataflow
from pipelines.storage import is_local, printable

# Option, path.
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
    """Raise UsageError for the first place, given as (option, path), that workers of Dataflow cannot reach.

    inputs: places of images, which may be lists of paths; others: whatever else workers read or write. Files that only
    this machine reads, such as a file of sources or of classes, are neither.
    Other runners are not judged: the machines of a cluster may share a filesystem with this one.
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
    """Raise UsageError for the first place on `gs://`, given as (option, path), where these credentials cannot read.

    Places of Beam's own (--temp_location, --staging_location) must be writable. The output is, when it is looked into
    (`output.require_output`).
    """
    for option, path in places:
        require_readable(option, path)
    cloud = options.view_as(GoogleCloudOptions)
    for option in ("temp_location", "staging_location"):
        require_writable(f"--{option}", getattr(cloud, option) or "")
