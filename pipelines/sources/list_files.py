"""List the files of an input: a folder, a glob, a list of paths, an archive or a single file; local, `gs://` or other.

An input is listed in units, each of which any worker can list on its own. Each file comes with the size and version
that the listing itself reports.
"""

from __future__ import annotations

import functools
import itertools
import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence

from pipelines.common.gcs_client import is_gs, split_path
from pipelines.common.text import printable
from pipelines.domain.image_ids import is_image_name
from pipelines.domain.system_files import file_kind, folder_kind, is_system_folder, system_kind
from pipelines.sources.archive_listing import list_archive, with_members
from pipelines.sources.source_file import IMAGE, SourceFile, Unit
from pipelines.storage import gcs_listing
from pipelines.storage.archives import is_archive
from pipelines.storage.errors import storage_errors
from pipelines.storage.file_versions import FileVersion, local_version, match_versions, versions_of
from pipelines.storage.filesystem import is_local
from pipelines.storage.globs import has_wildcard, match_local, matcher
from pipelines.storage.path_lists import is_path_list, list_paths

# Entries of a path list that one unit looks up; those in a bucket take one request.
_ENTRIES = 64


def fixed_part(pattern: str) -> str:
    """Return the part of a pattern before its first wildcard, cut after its last slash."""
    fixed = _before_wildcard(pattern)
    return fixed[: fixed.rfind("/") + 1]


def _before_wildcard(pattern: str) -> str:
    return re.split(r"[*?\[]", pattern, maxsplit=1)[0]


def _file(path: str, relative: str, state: FileVersion, kind: str = "") -> SourceFile:
    return SourceFile(path, relative, state.size, version=state.version, kind=kind)


class _ClosedFolders:
    """The folders of an input that may not be read.

    Each is listed in place of the images that it may hold. Any other error ends the listing, since trying again may
    help; so does an input that may not be read itself.

    Args:
        top: The input.
    """

    def __init__(self, top: str):
        self._top = top
        self.paths: list[str] = []

    def note(self, error: OSError) -> None:
        """Keep a folder.

        Raises:
            StorageError: If it is the input itself, or the error says nothing of permissions.
        """
        if not isinstance(error, PermissionError) or error.filename == self._top:
            with storage_errors():
                raise error
        self.paths.append(error.filename)


def _closed_folder(path: str, relative: str) -> SourceFile:
    return SourceFile(path, relative, 0, failure="PermissionError: the folder may not be read")


def _list_local(folder: str) -> Iterator[SourceFile]:
    top = os.path.realpath(folder)
    visited: set[str] = set()

    def relative(path: str) -> str:
        return printable(os.path.relpath(path, folder).replace(os.sep, "/"))

    def walked(path: str) -> bool:
        """Return whether to descend into a folder.

        Skip folders visited before, and links to a folder that is walked anyway at its own place.
        """
        real = os.path.realpath(path)
        inner_link = os.path.islink(path) and f"{real}{os.sep}".startswith(f"{top}{os.sep}")
        return not inner_link and real not in visited

    closed = _ClosedFolders(folder)
    # By default os.walk skips folders that it may not read, and their images would be lost silently.
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=closed.note):
        visited.add(os.path.realpath(parent))
        dropped = {name: kind for name in folders if (kind := folder_kind(name))}
        for name, kind in sorted(dropped.items()):
            path = os.path.join(parent, name)
            yield SourceFile(path, relative(path), 0, kind=kind)
        folders[:] = sorted(name for name in folders if name not in dropped and walked(os.path.join(parent, name)))
        for name in sorted(names):
            path = os.path.join(parent, name)
            # A broken link is listed too, so that it is rejected as unreadable rather than skipped.
            yield _file(path, relative(path), local_version(path), file_kind(name))
    for path in closed.paths:
        yield _closed_folder(path, relative(path))


def is_below(folder: str, path: str) -> bool:
    """Return whether a listing of a bucket's folder has an object; the folder may also be that object itself."""
    start = folder.rstrip("/") + "/"
    return path == folder or (path.startswith(start) and not system_kind(path.removeprefix(start)))


def _below(path: str, relative: str, state: FileVersion) -> SourceFile:
    return _file(path, relative, state, system_kind(relative))


def _list_range(names: gcs_listing.NameRange) -> Iterator[SourceFile]:
    for name, state in gcs_listing.list_range(names):
        yield _below(f"gs://{names.bucket}/{name}", name[len(names.prefix) :], state)


def _matched(pattern: str, path: str, relative: str, state: FileVersion) -> SourceFile:
    """Return a file that a pattern matches.

    A hidden file is taken, as the pattern may mean it; what lies in a folder such as `@eaDir` is, if it names that.
    """
    kind = system_kind(relative)
    return _file(path, relative, state, kind if is_system_folder(kind) and kind not in pattern else "")


def _list_matching(names: gcs_listing.NameRange, pattern: str) -> Iterator[SourceFile]:
    start = len(fixed_part(pattern))
    matches = matcher(pattern).match
    for name, state in gcs_listing.list_range(names):
        path = f"gs://{names.bucket}/{name}"
        if matches(path):
            yield _matched(pattern, path, path[start:], state)


def _list_matches(pattern: str) -> Iterator[SourceFile]:
    """Yield the files that match a pattern on any Beam filesystem.

    Their relative paths start after the part of the pattern before its first wildcard.
    """
    if is_local(pattern) and not fixed_part(pattern):
        pattern = f"./{pattern}"  # a match begins in the folder before the first wildcard
    start = len(fixed_part(pattern))
    if not is_local(pattern):
        for path, state in match_versions(pattern):
            yield _matched(pattern, path, path[start:], state)
        return
    closed = _ClosedFolders(os.path.dirname(fixed_part(pattern)))
    with storage_errors():
        paths = sorted(match_local(pattern, closed.note))
    for path in paths:
        yield _matched(pattern, path, path[start:], local_version(path))
    for path in closed.paths:
        yield _closed_folder(path, path[start:])


def _list_one(path: str) -> Iterator[SourceFile]:
    (state,) = versions_of([path])
    if state.version:
        yield _file(path, posixpath.basename(path), state)


def _list_below(folder: str) -> Iterator[SourceFile]:
    found = False
    start = len(folder.rstrip("/")) + 1
    for path, state in match_versions(folder.rstrip("/") + "/**"):
        found = True
        yield _below(path, path[start:], state)
    if not found:  # not a folder; it may be a single file
        yield from _list_one(folder)


def _walk(function: Callable[..., Iterator[SourceFile]], *arguments: object) -> Unit:
    """Return the unit that lists what a function finds, archives opened."""
    return functools.partial(with_members, functools.partial(function, *arguments))


def is_pattern(entry: str) -> bool:
    """Return whether an entry of a path list may name several files; brackets alone are part of a file's name."""
    return has_wildcard(entry.replace("[", "")) or (has_wildcard(entry) and not is_image_name(entry))


def is_single_image(entry: str) -> bool:
    """Return whether an entry of a path list names one file, by its name an image."""
    return is_image_name(entry) and not is_pattern(entry)


def _list_entries(paths: Sequence[str]) -> Iterator[SourceFile]:
    """Yield the files that entries of a path list name.

    A missing file is listed too, so that it is rejected as unreadable.
    """
    images: list[str] = []
    others: list[str] = []
    for path in paths:
        (images if is_single_image(path) else others).append(path)
    for path, state in zip(images, versions_of(images), strict=True):
        yield _entry(path, state)
    for path in others:
        found = False
        for unit in list_units(path, split=False):
            for file in unit():
                found = True
                yield file
        if not found and not is_pattern(path) and not (is_local(path) and os.path.exists(path)):
            yield _entry(path, FileVersion(), IMAGE)


def _entry(path: str, state: FileVersion, kind: str = "") -> SourceFile:
    return _file(path, path.rpartition("://")[2].lstrip("/"), state, kind)


def _path_list_units(path: str) -> Iterator[Unit]:
    remaining = list_paths(path)
    while entries := list(itertools.islice(remaining, _ENTRIES)):
        yield functools.partial(_list_entries, entries)


def _bucket_units(root: str, split: bool) -> Iterator[Unit]:
    bucket, name = split_path(root)
    if has_wildcard(root):
        for names in gcs_listing.ranges(bucket, _before_wildcard(name), split):
            yield _walk(_list_matching, names, root)
        return
    ranges = gcs_listing.ranges(bucket, name.rstrip("/") + "/" if name.strip("/") else "", split)
    for names in ranges:
        yield _walk(_list_range, names)
    if not ranges:  # not a folder; it may be a single object
        yield functools.partial(_list_one, root)


def list_units(root: str, split: bool = True) -> Iterator[Unit]:
    """Yield the parts of an input, each as a function that lists its files.

    Args:
        root: A folder, a glob, an archive, a list of paths or a single file.
        split: Whether to split a large folder of a bucket, which pays off only with several workers.

    Yields:
        Picklable functions without arguments. Archives in a folder are listed as folders of their name. The files
        include those that are passed over.
    """
    if is_archive(root):
        yield functools.partial(list_archive, root)
    elif is_path_list(root):
        yield from _path_list_units(root)
    elif is_local(root) and os.path.isdir(root):
        yield _walk(_list_local, root)
    elif is_local(root) and os.path.isfile(root):
        yield functools.partial(_list_one, root)
    elif is_gs(root) and not has_wildcard(root.split("/")[2]):
        yield from _bucket_units(root, split)
    elif is_local(root) or has_wildcard(root):
        yield _walk(_list_matches, root)
    else:
        yield _walk(_list_below, root)


def list_files(root: str) -> Iterator[SourceFile]:
    """Return an iterator over all files of an input.

    What systems leave (see `system_files`) is skipped. The order is unspecified; nothing downstream depends on it.

    Args:
        root: A folder (listed at any depth), a glob, an archive, a list of paths or a single file.

    Raises:
        StorageError: While iterating, if a part of the input cannot be listed.
    """
    files = itertools.chain.from_iterable(unit() for unit in list_units(root, split=False))
    return (file for file in files if not file.is_passed_over)
