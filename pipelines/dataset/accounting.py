"""Every listed file is accounted for, or the run fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipelines.common.cli import LimitExceeded
from pipelines.common.seeding import stable_hash
from pipelines.common.text import visible
from pipelines.dataset.file_names import REJECTS_FILES
from pipelines.dataset.image_row import OUTCOMES, ImageRow
from pipelines.storage import filesystem
from pipelines.storage.numbered_files import any_of

_SUM_MODULUS = 1 << 128
# Names that reports give of each kind of file that is not used.
FIRST_NAMES = 3
# Kinds that the terminal names; reports have all.
_KINDS_SHOWN = 8


class AccountingError(Exception):
    """Error for files that were lost or counted twice: a fault of the pipeline or its runner, never of the input."""


def path_hash(path: str) -> int:
    """Return what a path adds to a sum of hashes that stands for a set of files."""
    return stable_hash("path", path)


def tally_outcome(row: ImageRow) -> Counter:
    """Return what a finished row of any job adds to the totals: its outcome, its source and its path."""
    return Counter(
        {
            ("outcome", row.outcome): 1,
            ("outcome paths",): path_hash(row.path),
            ("source", row.source, row.outcome): 1,
        }
    )


def images_listed(listed: Mapping) -> int:
    """Return the number of images in the result of `list_images.CountListed`."""
    return listed.get(("listed",), 0) - listed.get(("ignored",), 0)


def _kinds(listed: Mapping, figure: str) -> list[dict]:
    names = listed.get(("names",), {})
    kinds = [
        {"kind": key[1], "files": listed[key], "first": list(names.get(key, ()))}
        for key in listed
        if len(key) == 2 and key[0] == figure
    ]
    return sorted(kinds, key=lambda kind: (-kind["files"], kind["kind"]))


def describe_beside(listed: Mapping) -> dict[str, list[dict]]:
    """Return what lies beside the images, by kind, the most frequent first, each with its first names.

    Args:
        listed: The result of `list_images.CountListed`.

    Returns:
        `ignored`, files that are no images, by extension; `passed_over`, what systems leave, such as `@eaDir`.
    """
    return {"ignored": _kinds(listed, "ignored"), "passed_over": _kinds(listed, "passed over")}


def beside_lines(beside: Mapping[str, Sequence[Mapping]], file: str) -> list[str]:
    """Return lines for the terminal about what lies beside the images.

    Args:
        beside: What `describe_beside` returns.
        file: The file that has all of it.
    """
    lines = []
    for what, title in (("ignored", "ignored, no images"), ("passed_over", "passed over")):
        kinds = beside[what]
        for kind in kinds[:_KINDS_SHOWN]:
            more = ", …" if kind["files"] > len(kind["first"]) else ""
            lines.append(f"  {title}: {kind['files']} {kind['kind']} ({', '.join(map(visible, kind['first']))}{more})")
        if len(kinds) > _KINDS_SHOWN:
            files = sum(kind["files"] for kind in kinds[_KINDS_SHOWN:])
            lines.append(f"  {title}: {files} of {len(kinds) - _KINDS_SHOWN} other kinds, see {file}")
    return lines


def check_sums(listed: Mapping, finished: Mapping, outcomes: Sequence[str] = OUTCOMES) -> None:
    """Raise AccountingError unless the files that were listed are the files that were finished.

    Args:
        listed: The result of `list_images.CountListed`.
        finished: The sum of `tally_outcome` or `tally_row` over all rows.
        outcomes: The outcomes that a row of this job can have.

    Raises:
        AccountingError: If the numbers or the sums of path hashes differ.
    """
    expected = images_listed(listed)
    counts = {outcome: finished.get(("outcome", outcome), 0) for outcome in outcomes}
    found = sum(counts.values())
    if found != expected:
        detail = " + ".join(f"{count} {outcome}" for outcome, count in counts.items())
        verb = "lost" if found < expected else "counted twice"
        raise AccountingError(f"{expected} files listed, but {detail} = {found}: {abs(expected - found)} {verb}")
    if (listed.get(("listed paths",), 0) - finished.get(("outcome paths",), 0)) % _SUM_MODULUS:
        raise AccountingError(f"{expected} files listed and as many accounted for, but not the same files")


def reasons(totals: Mapping) -> dict[str, int]:
    """Count the files that were dropped for each reason."""
    return {key[1]: totals[key] for key in sorted(totals) if key[0] == "reason"}


def photographs(counts: Mapping[str, int], masks: int) -> dict[str, int]:
    """Return the counts for `check_reject_fraction` without files that are no photographs.

    Args:
        counts: The counts of a run.
        masks: How many rejected files are masks: a download may have one for each photograph.
    """
    return {"listed": counts["listed"] - counts["ignored"] - masks, "rejected": counts["rejected"] - masks}


def check_reject_fraction(counts: Mapping[str, int], limit: float, folder: str) -> None:
    """Raise LimitExceeded if too many files were rejected.

    Args:
        counts: The counts of dataset.json, of which `rejected` and `listed` are used.
        limit: The largest fraction of the listed files that may be rejected, from 0 to 1.
        folder: The output folder, for the message.

    Raises:
        LimitExceeded: If more are rejected.
    """
    if counts["rejected"] > limit * counts["listed"]:
        raise LimitExceeded(
            f"{counts['rejected']} of {counts['listed']} files rejected, more than --max_reject_fraction {limit:g}; "
            f"the reasons are in {filesystem.join(folder, any_of(REJECTS_FILES))}"
        )
