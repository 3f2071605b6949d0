"""The options that prepare and audit share: what is read, and how images are judged, grouped and split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.curation.corrections import NO_CORRECTIONS, OPTION, CorrectionsFile
from pipelines.curation.fractions import DEFAULT_FRACTIONS, Fractions
from pipelines.domain.layout_registry import LAYOUTS
from pipelines.domain.metadata_columns import Columns
from pipelines.domain.taxonomy import ClassSet, built_in_set
from pipelines.sources.location import Location
from pipelines.sources.source import Source, Table

DEFAULT_CLASS_SET = built_in_set("isic9")
NO_COLUMNS = Columns()


@dataclass(frozen=True)
class CurationOptions:
    """Validated options about reading, judging, grouping and splitting images."""

    sources: tuple[Source, ...]
    output: str
    metadata: tuple[Table, ...] = ()  # tables that apply to all images
    columns: Columns = NO_COLUMNS
    class_set: ClassSet = DEFAULT_CLASS_SET
    trust: str = ""  # source that decides label conflicts; empty: such images are rejected
    licenses: tuple[str, ...] = ()  # empty: all are allowed
    exclude: tuple[str, ...] = ()  # issues of quality, see `quality_issues`
    group_by_patient: bool = False
    split_fractions: Fractions = DEFAULT_FRACTIONS
    folds: int = 0  # 0: no folds
    split_from_folders: bool = False
    splits_file: str = ""
    splits_from: str = ""
    corrections: CorrectionsFile = NO_CORRECTIONS
    on_leakage: str = "remove_from_test"
    small_classes: str = "error"
    seed: int = 0
    max_reject_fraction: float = 0.25
    # Images at once per worker process; 0: see `default_worker_threads`.
    threads: int = 0
    memory_budget: int = 0  # bytes, see `memory_limit`
    overwrite: bool = False
    dry_run: bool = False
    notes: tuple[str, ...] = ()  # what to say on stderr when a run begins

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.class_set.classes

    def places(self) -> dict[str, Any]:
        """Return where everything is read from, for a report."""
        return {
            "sources": [source.as_json() for source in self.sources],
            "metadata": [table.path for table in self.metadata],
            "splits_file": self.splits_file,
            "splits_from": self.splits_from,
            "corrections": self.corrections.path,
        }

    def paths(self) -> list[str]:
        """Return every image folder, archive and table that is read; none of them may be the output."""
        tables = [*self.metadata, *(table for source in self.sources for table in source.tables)]
        return [*(source.path for source in self.sources), *(table.path for table in tables)]

    def locations(self) -> list[Location]:
        """Return what workers read or write, inputs first.

        Files of sources or classes are not included: workers do not read them.
        """
        inputs = [Location(source.option, source.path, is_input=True) for source in self.sources]
        tables = [*(table for source in self.sources for table in source.tables), *self.metadata]
        given = [
            ("--splits_file", self.splits_file),
            ("--splits_from", self.splits_from),
            (OPTION, self.corrections.path),
            ("--output", self.output),
        ]
        return [
            *inputs,
            *(Location(table.option, table.path) for table in tables),
            *(Location(option, path) for option, path in given if path),
        ]

    def read_as(self) -> list[str]:
        """Return one line per source saying what it was read as, and one for the tables that apply to all images."""
        lines = [f"read {source.path} as {source.read_as()}" for source in self.sources]
        if self.metadata:
            tables = (f"{LAYOUTS[table.layout].title} {table.path}" for table in self.metadata)
            lines.append(f"for all images: {', '.join(tables)}")
        if self.corrections.path:
            lines.append(self.corrections.read_as())
        return lines

    def decision_settings(self) -> dict[str, Any]:
        """Return the options that decide what becomes of an image."""
        return {
            "split_fractions": list(self.split_fractions),
            "folds": self.folds,
            "split_from_folders": self.split_from_folders,
            "on_leakage": self.on_leakage,
            "on_label_conflict": f"trust={self.trust}" if self.trust else "reject",
            "licenses": list(self.licenses),
            "group_by_patient": self.group_by_patient,
            "small_classes": self.small_classes,
            # Without corrections a dataset has the fingerprint that it had before there were any.
            **({"exclude": list(self.exclude)} if self.exclude else {}),
            **({"corrections": self.corrections.digest} if self.corrections.path else {}),
        }
