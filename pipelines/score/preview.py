"""What a run of score would read, as listings say it: `--dry_run`. No image is opened, no model loaded."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.common import last_run
from pipelines.score.job import Job
from pipelines.score.scored_keys import read_scored_keys, scored_key
from pipelines.sources.list_files import list_units
from pipelines.sources.record_source import is_record_source, record_units
from pipelines.sources.source_file import SourceFile, file_place
from pipelines.sources.unnamed_images import kind_of_name

_AT_ONCE = 1000


class Preview(NamedTuple):
    """What listings say of the inputs of a run."""

    images: int
    unchanged: int  # of these, scored or rejected in earlier runs
    others: Counter[str]  # files that are no images by their names, by kind

    def lines(self) -> list[str]:
        """Return the lines that tell a user all this."""
        others = ", ".join(f"{kind} {count:,}" for kind, count in self.others.most_common(5))
        lines = [f"images by their names: {self.images:,}" + (f"; other files: {others}" if others else "")]
        if self.unchanged:
            lines.append(f"scored or rejected before: {self.unchanged:,}; new: {self.images - self.unchanged:,}")
        return lines


def _files(job: Job) -> Iterator[SourceFile]:
    """Yield each file of the inputs once."""
    seen: set[tuple] = set()
    for path in job.options.input:
        units = record_units(path) if is_record_source(path) else list_units(path, split=False)
        for file in itertools.chain.from_iterable(unit() for unit in units):
            if len(job.options.input) > 1:
                place = file_place(file)
                if place in seen:
                    continue
                seen.add(place)
            yield file


def preview(job: Job) -> Preview:
    """List the inputs and say what a run would score.

    Raises:
        StorageError: An input or an earlier run cannot be read.
    """
    images, others, unchanged = 0, Counter[str](), 0
    known = read_scored_keys(job.earlier)
    files = _files(job)
    while chunk := list(itertools.islice(files, _AT_ONCE)):
        found = [file for file in chunk if file.is_image]
        images += len(found)
        others.update(kind_of_name(file.path) for file in chunk if not (file.is_image or file.is_passed_over))
        unchanged += int(known.contains([scored_key(file, job.run.fingerprint) for file in found]).sum())
    return Preview(images, unchanged, others)


def dry_run_lines(job: Job) -> list[str]:
    """Return what a dry run tells a user.

    Raises:
        StorageError: An input or an earlier run cannot be read.
    """
    found = preview(job)
    new = found.images - found.unchanged
    return [*found.lines(), f"would write {job.partition}", *last_run.dry_run_lines("score", new)]
