"""The value of `--classes`: a known class set, a mapping file or names separated by commas."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import yaml

from pipelines.common.cli import UsageError
from pipelines.domain.diagnoses import CLASS_SETS
from pipelines.domain.taxonomy import ClassSet, built_in_set, mapped_set, named_set, normalize_term
from pipelines.storage import filesystem
from pipelines.storage.errors import StorageError


def _notations(term: str) -> list[str]:
    """Return a term; if it is a whole number, in both notations, because tables have `1.0` for `1`."""
    number = re.fullmatch(r"(\d+)(?:\.0+)?", term.strip())
    return [number[1], f"{number[1]}.0"] if number else [term]


def _require_distinct(path: str, mapping: Mapping[str, Iterable[str]]) -> None:
    """Raise UsageError if a term of a mapping file stands for two classes."""
    owners: dict[str, str] = {}
    for name, terms in mapping.items():
        for term in (name, *terms):
            owner = owners.setdefault(normalize_term(term), name)
            if owner != name:
                raise UsageError(f"--classes {path}: {term!r} stands for two classes, {owner!r} and {name!r}")


def _mapping_file(path: str) -> ClassSet:
    """Read a class set from a JSON or YAML file {class: [terms]}.

    Raises:
        UsageError: The file cannot be read or does not hold such a mapping.
    """
    try:
        # JSON is YAML. BaseLoader leaves every term as it is written: `yes` and `1` are words, as they are in a table.
        content = yaml.load(filesystem.read_if_exists(path) or b"", yaml.BaseLoader)
    except StorageError as error:
        raise UsageError(f"--classes {path}: cannot be read as JSON or YAML ({error.kind})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--classes {path}: cannot be read as JSON or YAML ({type(error).__name__})") from error
    valid = isinstance(content, dict) and all(
        isinstance(terms, list) and all(isinstance(term, str) for term in terms) for terms in content.values()
    )
    if not valid or len(content) < 2:
        raise UsageError(
            f"--classes {path}: must hold two or more classes, each with a list of terms: {{class: [term]}}"
        )
    mapping = {name: [notation for term in terms for notation in _notations(term)] for name, terms in content.items()}
    _require_distinct(path, mapping)
    return mapped_set(mapping)


def resolve_classes(value: str) -> ClassSet:
    """Return the class set for the value of `--classes`.

    Args:
        value: The name of a known set, the path of a mapping file (.json, .yaml or .yml), or names separated by commas.

    Raises:
        UsageError: The set is unknown, the file does not hold a mapping, a name is repeated, or there are fewer than
            two names.
    """
    if value in CLASS_SETS:
        return built_in_set(value)
    if value.lower().endswith((".json", ".yaml", ".yml")):
        return _mapping_file(value)
    names = [name for name in map(normalize_term, value.split(",")) if name]
    if len(names) < 2:
        known = ", ".join(CLASS_SETS)
        raise UsageError(
            f"--classes {value!r}: neither a known set ({known}), a .json or .yaml file, nor names separated by commas"
        )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"--classes {value!r}: {repeated[0]!r} is named twice")
    return named_set(names)
