"""Check, before a job starts, every location that it reads or writes: each is opened once, whatever is asked about it.

The questions, in this order: do the workers reach it, do the credentials allow it, and, of inputs, does it exist and
hold images, or records of which format.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipelines.common.cli import UsageError, first_line
from pipelines.common.text import printable
from pipelines.domain.image_ids import IMAGE_EXTENSIONS, is_image_name
from pipelines.sources.list_files import is_below, list_files
from pipelines.sources.location import Location
from pipelines.sources.record_source import RecordFormat, is_record_source, record_format
from pipelines.sources.source_file import SourceFile
from pipelines.sources.unnamed_images import is_unnamed, looks_like_image
from pipelines.storage.access import require_readable, require_writable
from pipelines.storage.archives import is_archive, unsupported_archive
from pipelines.storage.errors import StorageError
from pipelines.storage.filesystem import is_local
from pipelines.storage.globs import has_wildcard
from pipelines.storage.path_lists import PathList, is_path_list, require_path_list

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

# Files of an input that are looked at, where no name tells that it holds an image.
_UNNAMED = 100


class Locations:
    """The locations of a job, with what is known of each."""

    def __init__(self, locations: Sequence[Location]):
        """Take the locations without looking at them.

        Args:
            locations: All that workers read or write. Leave out files that only this machine reads, such as a file of
                sources or classes.
        """
        self._locations = locations
        self._inputs = [location for location in locations if location.is_input]
        self._lists: dict[str, PathList] = {}
        # By location, some of the objects there.
        self._objects: dict[Location, list[str]] = {}

    def require_reachable(self, options: PipelineOptions) -> None:
        """Raise UsageError for the first path that Dataflow workers cannot reach.

        Other runners are not checked, because the machines of a cluster may share a filesystem with this one.

        Args:
            options: Beam's options.

        Raises:
            UsageError: A path, or an entry of a list of paths, is on this machine.
        """
        from pipelines.beam.runner import is_dataflow

        if not is_dataflow(options):
            return
        for location in self._locations:
            option, path, is_input = location
            if is_local(path):
                raise UsageError(
                    f"{option} {printable(path)}: is on this machine; workers of DataflowRunner cannot reach it; "
                    "name a gs:// path"
                )
            if is_input and is_path_list(path) and (entry := self._list(location).local) is not None:
                raise UsageError(
                    f"{option} {printable(path)}: lists {printable(entry)}, which is on this machine; workers of "
                    "DataflowRunner cannot reach it; list gs:// paths, or paths relative to the list"
                )

    def require_access(self, options: PipelineOptions) -> None:
        """Raise UsageError for the first `gs://` path that these credentials cannot access.

        Beam's own paths (--temp_location, --staging_location) must be writable. `output.require_output` checks the
        output.

        Args:
            options: Beam's options.

        Raises:
            UsageError: A path is not readable or not writable.
        """
        from apache_beam.options.pipeline_options import GoogleCloudOptions

        for location in self._locations:
            self._objects[location] = require_readable(location.option, location.path)
        cloud = options.view_as(GoogleCloudOptions)
        for option in ("temp_location", "staging_location"):
            require_writable(f"--{option}", getattr(cloud, option) or "")

    def require_images(self, records: bool = False, may_be_empty: bool | None = None) -> dict[str, RecordFormat]:
        """Raise UsageError unless every input exists, can be listed and holds at least one image, by file names.

        Args:
            records: Whether a prepared dataset, or shards of one, is accepted too.
            may_be_empty: Whether an input may hold no image; None: it may not, and no option allows it.

        Returns:
            The format of each input that holds records, by path.
        """
        formats = {}
        for location in self._inputs:
            option, path, _ = location
            if path != printable(path):
                raise UsageError(
                    f"{option} {printable(path)}: holds bytes that are not UTF-8 text; rename it or link to it"
                )
            if is_local(path) and not has_wildcard(path) and not os.path.exists(path):
                raise UsageError(f"{option} {path}: no such file or folder")
            try:
                if records and is_record_source(path):
                    formats[path] = record_format(option, path)
                    continue
                if refused := unsupported_archive(path):
                    raise UsageError(f"{option} {path}: {refused}")
                found = self._holds_image(location)
            except UsageError:
                raise
            except StorageError as error:
                raise UsageError(f"{option} {path}: cannot be listed: {error.text}") from error
            except Exception as error:  # of a list within the list (CSV, Parquet, UTF-8), or of a pattern
                raise UsageError(f"{option} {path}: cannot be listed: {first_line(error)}") from error
            if not found and not may_be_empty:
                what = "matches" if has_wildcard(path) and not os.path.exists(path) else "holds"
                names = ", ".join(sorted(IMAGE_EXTENSIONS))
                hint = "" if may_be_empty is None else "; add --allow_empty if that is as it should be"
                raise UsageError(f"{option} {path}: {what} no image (files named {names}){hint}")
        return formats

    def _list(self, location: Location) -> PathList:
        if location.path not in self._lists:
            self._lists[location.path] = require_path_list(location.option, location.path)
        return self._lists[location.path]

    def _holds_image(self, location: Location) -> bool:
        option, path, _ = location
        if not is_path_list(path):
            # What is called like an archive is read as one, even where objects lie below that name.
            objects = () if is_archive(path) else self._objects.get(location, ())
            seen = (name for name in objects if is_below(path, name))
            return any(map(is_image_name, seen)) or _lists_image(path)
        listed = self._list(location)
        for entry in listed.first_in_bucket:
            require_readable(f"{option} {path}: lists", entry)
        return listed.names_image or any(map(_lists_image, listed.others))


def _lists_image(path: str) -> bool:
    unnamed: list[SourceFile] = []
    for file in list_files(path):
        if file.is_image:
            return True
        if len(unnamed) < _UNNAMED and is_unnamed(file):
            unnamed.append(file)
    return any(map(looks_like_image, unnamed))


def check_locations(
    locations: Sequence[Location],
    options: PipelineOptions | None,
    records: bool = False,
    may_be_empty: Callable[[], bool] | None = None,
) -> dict[str, RecordFormat]:
    """Raise UsageError for the first location that a job cannot use.

    Args:
        locations: All that workers read or write.
        options: Beam's options; None if none was given, nor is needed by any location.
        records: Whether inputs may be prepared datasets, or shards of one.
        may_be_empty: Tells whether inputs may hold no image; asked once all locations can be read. None: they
            may not.

    Returns:
        The format of each input that holds records, by path.
    """
    checked = Locations(locations)
    if options is not None:
        checked.require_reachable(options)
        checked.require_access(options)
    return checked.require_images(records, None if may_be_empty is None else may_be_empty())
