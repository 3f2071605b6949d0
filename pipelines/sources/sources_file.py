"""Read a sources file: YAML or JSON that lists where images are, in which layout, and which tables describe them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import yaml

from pipelines.common.cli import UsageError, first_line
from pipelines.common.yaml_loaders import SafeOnceLoader, where_wrong
from pipelines.domain.labels import FOLDER
from pipelines.domain.layout_registry import FOLDERS, LAYOUTS, RECOGNIZE, TABLE
from pipelines.domain.metadata_columns import Columns
from pipelines.sources.source import Source, Table
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError
from pipelines.storage.path_lists import folder_of, resolve_path

_FILE_KEYS = ("sources", "metadata")
_SOURCE_KEYS = ("images", "layout", "name", "metadata", "columns")


class SourcesFile(NamedTuple):
    """The content of a sources file."""

    sources: tuple[Source, ...]  # with the tables that the file names for them
    metadata: tuple[Table, ...]  # shared tables, which describe the images of all sources


def is_sources_file(path: str) -> bool:
    """Return whether a path names a sources file.

    Only the name counts, except that a folder is never a sources file.
    """
    return path.lower().endswith((".yaml", ".yml", ".json")) and not filesystem.is_folder(path)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"{key!r} stands twice")
    return dict(pairs)


def _parse(path: str, option: str) -> Any:
    try:
        content = filesystem.read_if_exists(path)
    except StorageError as error:
        raise UsageError(f"{option}: cannot be read ({error})") from error
    if content is None:
        raise UsageError(f"{option}: no such file")
    try:
        text = content.decode("utf-8-sig")
        if path.lower().endswith(".json"):
            return json.loads(text, object_pairs_hook=_once)
        return yaml.load(text, SafeOnceLoader)
    except UnicodeDecodeError as error:
        raise UsageError(f"{option}: not a UTF-8 text file ({error.reason})") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{option}: not JSON, line {error.lineno}: {error.msg}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{option}: not YAML{where_wrong(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{option}: cannot be read: {first_line(error)}") from error


class _Mistakes:
    """Checker of parsed values. It turns the first invalid value into a UsageError that says where it is."""

    def __init__(self, where: str):
        self._where = where

    def fail(self, what: str) -> UsageError:
        return UsageError(f"{self._where}: {what}")

    def mapping(self, value: Any, known: tuple[str, ...]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise self.fail(f"must be keys with values ({', '.join(known)}), not {_kind(value)}")
        for key in value:
            if key not in known:
                raise self.fail(f"unknown key {key!r}; {', '.join(known)} are known")
        return value

    def text(self, key: str, value: Any) -> str:
        if isinstance(value, str) and value.strip() and value.splitlines() == [value] and _is_plain(value):
            return value
        # YAML reads 2019 as a number and 2019-05-01 as a date.
        quotes = "" if isinstance(value, (str, dict, list, type(None))) else "; put it in quotes"
        raise self.fail(f"{key} must be one line of text, not {_kind(value)}{quotes}")

    def texts(self, key: str, value: Any) -> list[str]:
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self.fail(f"{key} is an empty list; leave it out or name a table")
        return [self.text(key, item) for item in items]


def _is_plain(text: str) -> bool:
    # A path can contain neither NUL nor half of a surrogate pair, which JSON can express.
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _kind(value: Any) -> str:
    kinds: dict[type, str] = {
        dict: "keys with values",
        list: "a list" if value else "an empty list",
        type(None): "nothing",
    }
    return kinds.get(type(value), repr(value) if isinstance(value, str) else str(value))


def _layout(check: _Mistakes, value: Any) -> str:
    name = check.text("layout", value)
    if name not in LAYOUTS:
        raise check.fail(f"unknown layout {name!r}; {', '.join(LAYOUTS)} are known")
    return name


def _source(entry: Any, option: str, number: int, resolve: Callable[[str], str]) -> Source:
    check = _Mistakes(f"{option}: source {number}")
    values = check.mapping(entry, _SOURCE_KEYS)
    if "images" not in values:
        raise check.fail("needs images: a folder, a glob, an archive or a list of paths")
    images = check.text("images", values["images"])
    name = check.text("name", values.get("name", images))
    if values.get("name") == FOLDER:
        raise check.fail(
            f"name {FOLDER!r} stands for the folder names of all sources, in trust={FOLDER}; choose another"
        )
    check = _Mistakes(f"{option}: source {name!r}")
    layout = _layout(check, values["layout"]) if "layout" in values else RECOGNIZE
    tables = check.texts("metadata", values["metadata"]) if "metadata" in values else []
    columns = Columns()
    if "columns" in values:
        named = check.mapping(values["columns"], Columns.names())
        columns = Columns(**{key: check.text(f"columns: {key}", column) for key, column in named.items()})
        if not tables:
            raise check.fail("columns needs metadata, the table that has them")
        if layout not in (RECOGNIZE, TABLE, FOLDERS):
            raise check.fail(f"columns are those of layout {TABLE}; those of {layout} are known")
    where = f"{option}: source {name!r}"
    own = tuple(Table(resolve(path), columns, option=f"{where}: metadata") for path in dict.fromkeys(tables))
    return Source(name, resolve(images), layout, own, option=f"{where}: images")


def read_sources_file(path: str) -> SourcesFile:
    """Read a sources file, resolving its paths against its own folder.

    Whether images and tables exist is not checked.

    Raises:
        UsageError: If the file cannot be read or is invalid; the message is one line.
    """
    option = f"--input {path}"
    check = _Mistakes(option)
    content = check.mapping(_parse(path, option), _FILE_KEYS)
    entries = content.get("sources")
    if not isinstance(entries, list) or not entries:
        raise check.fail(f"needs sources, a list of one or more, each with images; it has {_kind(entries)}")
    folder = folder_of(path)

    def resolve(entry: str) -> str:
        return resolve_path(folder, entry)

    shared = check.texts("metadata", content["metadata"]) if "metadata" in content else []
    tables = tuple(Table(resolve(entry), option=f"{option}: metadata") for entry in dict.fromkeys(shared))
    return SourcesFile(
        tuple(_source(entry, option, number, resolve) for number, entry in enumerate(entries, 1)), tables
    )
