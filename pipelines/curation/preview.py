"""What prepare and audit would read, as listings and tables say it: `--dry_run`. No image is opened."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.common import last_run
from pipelines.curation.check import listed_row
from pipelines.curation.join_metadata import ImageKey, image_key, join_facts, speak, tables_to_read
from pipelines.curation.not_understood import not_understood
from pipelines.curation.options import CurationOptions
from pipelines.dataset.image_row import ImageRow
from pipelines.domain.labels import resolve_label
from pipelines.domain.metadata_columns import Facts
from pipelines.sources.list_files import list_units
from pipelines.sources.source_file import file_place
from pipelines.sources.unnamed_images import kind_of_name


class Preview(NamedTuple):
    """What listings and tables say of the inputs of a job."""

    images: int
    others: Counter[str]  # files that are no images by their names, by kind
    passed_over: int  # droppings of systems
    labels: Counter[str]  # images by class
    conflicts: int  # images on whose class their sources disagree
    unmapped: Counter[str]  # images without a class, by their first label; "" for no label
    lesions: int  # distinct lesion ids

    @property
    def files(self) -> int:
        """Every file that a run would count as listed."""
        return self.images + sum(self.others.values())

    def lines(self, options: CurationOptions) -> list[str]:
        """Return the lines that tell a user all this."""
        others = ", ".join(f"{kind} {count:,}" for kind, count in self.others.most_common(5))
        labels = ", ".join(f"{name} {self.labels[name]:,}" for name in options.classes)
        lines = [f"would read {source.path} as {source.read_as()}" for source in options.sources]
        lines.append(f"images by their names: {self.images:,}" + (f"; other files: {others}" if others else ""))
        if self.passed_over:
            lines.append(f"passed over as droppings of systems: {self.passed_over:,}")
        lines.append(f"labels: {labels}")
        lines += [f"files on whose class their sources disagree: {self.conflicts:,}"] if self.conflicts else []
        if self.unmapped:
            what = not_understood(self.unmapped.most_common(), options.class_set)
            lines.append(f"without a class: {sum(self.unmapped.values()):,} files{what}")
        lines.append(f"lesion ids: {self.lesions:,}")
        return lines


def _rows(options: CurationOptions, found: Counter[str], others: Counter[str]) -> Iterator[ImageRow]:
    """Yield the row of each image once, as `list_images` does; count all other files."""
    inputs = {source.path: source for source in options.sources}
    seen: set[tuple] = set()
    for root in inputs:
        for file in itertools.chain.from_iterable(unit() for unit in list_units(root, split=False)):
            if len(inputs) > 1:
                place = file_place(file)
                if place in seen:
                    continue
                seen.add(place)
            if file.is_passed_over:
                found["passed over"] += 1
            elif not file.is_image:
                others[kind_of_name(file.path)] += 1
            else:
                yield listed_row(file, root, inputs, options.class_set)


def preview(options: CurationOptions) -> Preview:
    """List the inputs, read their tables, and say what a run would find.

    Args:
        options: Complete with the tables that were found.

    Raises:
        StorageError: An input or a table cannot be read.
    """
    found: Counter[str] = Counter()
    others: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    unmapped: Counter[str] = Counter()
    lesions: set[str] = set()
    facts: dict[ImageKey, list[Facts]] = {}
    for table in tables_to_read(options.sources, options.metadata):
        for key, fact in speak(table):
            facts.setdefault(key, []).append(fact)
    for listed in _rows(options, found, others):
        (row,) = join_facts([listed], facts.get(image_key(listed.source, listed.image_id), ()), options.class_set)
        found["images"] += 1
        lesions.update(row.lesion_ids)
        resolved = resolve_label(row.claims, options.trust)
        if resolved.label:
            labels[resolved.label] += 1
        elif resolved.reason == "label_conflict":
            found["conflicts"] += 1
        else:
            unmapped[next((claim.labels[0] for claim in row.claims if claim.labels), "")] += 1
    return Preview(found["images"], others, found["passed over"], labels, found["conflicts"], unmapped, len(lesions))


def dry_run_lines(job: str, options: CurationOptions, what: str) -> list[str]:
    """Return what a dry run tells a user.

    Args:
        job: Name of the job.
        options: Complete with the tables that were found.
        what: What the job would write.

    Raises:
        StorageError: An input or a table cannot be read.
    """
    found = preview(options)
    return [*found.lines(options), f"would write {options.output}: {what}", *last_run.dry_run_lines(job, found.files)]
