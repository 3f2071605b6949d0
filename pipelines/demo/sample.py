"""Write a small archive of synthetic lesion images, some broken on purpose, to try the jobs on.

    OUT/images/<class>/ISIC_9900001.jpg …   labelled photographs, JPEG and some PNG
    OUT/metadata.csv                        isic_id, lesion_id, age_approx, sex, anatom_site_general
    OUT/archive/…                           unlabelled photographs of other lesions, flat and in nested folders
    OUT/sample.json                         the contents, and each trouble with the expected reason; written last

The bytes depend only on the seed and the scale. Besides good photographs, `images` holds a truncated JPEG, a text file
named .jpg, a byte-for-byte duplicate, one image filed under two classes, a file that neither is nor claims to be an
image, and a photograph that is upright only after its EXIF orientation is applied.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError, run_command
from pipelines.demo.sample_images import CLASSES, FIRST_ID, write_archive, write_images

SUMMARY = "sample.json"
_IN_PROGRESS = ".sample-in-progress"


@dataclass(frozen=True)
class SampleOptions:
    """The validated command-line options."""

    output: Path
    seed: int = 0
    # Factor for the counts, to make small samples for quick tests. Each class keeps at least FEWEST_LESIONS lesions;
    # the troubles stay the same.
    scale: float = 1.0
    overwrite: bool = False


def write_sample(output: Path, seed: int, scale: float = 1.0) -> dict:
    """Write the sample, replacing an earlier one in the same folder.

    Args:
        output: The folder to write to; created if it does not exist. Files of others in it are left alone.
        seed: Another seed draws other lesions.
        scale: Factor for the counts, see `Options`.

    Returns:
        The content of sample.json. Its paths are relative to `output`, with forward slashes. `counts.files` is the
        number of image files that a job lists under images/. `counts.good` is how many of them should become records:
        one of two duplicates is good, and neither of two files that disagree about the label is.
    """
    output.mkdir(parents=True, exist_ok=True)
    # Mark the directory as ours before writing the first picture, so that an interrupted run can be repeated.
    if (output / _IN_PROGRESS).exists():
        _remove_left_over(output)
    (output / _IN_PROGRESS).touch()
    _remove_written(output)
    others = {path for path in output.rglob("*") if path.is_file()}

    per_class, rows, troubles, oriented = write_images(output, seed, scale)
    with open(output / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    archive_files, archive_troubles = write_archive(output, seed, scale)

    good = sum(counts["photographs"] for counts in per_class.values())
    summary = {
        "schema_version": 1,
        "seed": seed,
        "scale": scale,
        "classes": list(CLASSES),
        "counts": {
            "files": good + len(troubles),
            "good": good,
            "lesions": sum(counts["lesions"] for counts in per_class.values()),
            "per_class": per_class,
            "archive_files": archive_files,
            "archive_good": archive_files - len(archive_troubles),
        },
        "troubles": troubles,
        "archive_troubles": archive_troubles,
        "oriented": oriented,
        "not_images": ["images/README.txt"],
        "written": sorted(
            path.relative_to(output).as_posix()
            for path in output.rglob("*")
            if path.is_file() and path not in others and path.name != _IN_PROGRESS
        ),
    }
    (output / SUMMARY).write_text(json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (output / _IN_PROGRESS).unlink()
    return summary


def _written(output: Path) -> list[str]:
    """Return the files of an earlier sample, as listed in its sample.json, relative to it; empty if there is none."""
    try:
        return list(json.loads((output / SUMMARY).read_text(encoding="utf-8"))["written"])
    except (OSError, ValueError, KeyError):
        return []


def _remove_written(output: Path) -> None:
    """Delete only the files that an earlier run wrote, and the folders that become empty."""
    for name in [*_written(output), SUMMARY]:
        (output / name).unlink(missing_ok=True)
        for folder in (output / name).relative_to(output).parents:
            if folder.parts and (output / folder).is_dir() and not any((output / folder).iterdir()):
                (output / folder).rmdir()


def _remove_left_over(output: Path) -> None:
    """Delete the files of a run that ended before it listed them; its pictures are recognised by their ids."""
    for folder in ("images", "archive"):
        for path in (output / folder).rglob(f"*ISIC_{FIRST_ID // 100_000}*"):
            path.unlink()
    for name in ("metadata.csv", "images/README.txt"):
        (output / name).unlink(missing_ok=True)


def _check(options: SampleOptions) -> None:
    """Raise UsageError unless the output folder is missing, empty, or a sample that may be replaced."""
    output = options.output
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {str(output)!r} is a file; name a directory")
    if not output.exists() or not any(output.iterdir()) or (output / _IN_PROGRESS).exists():
        return
    if not options.overwrite:
        raise UsageError(f"--output {str(output)!r} is not empty; name another directory or add --overwrite")
    if not (output / SUMMARY).is_file():
        raise UsageError(f"--output {str(output)!r} was not written by this program (no {SUMMARY}); it is left alone")


def run(options: SampleOptions) -> dict:
    """Check the output folder, write the sample, and print a summary.

    Args:
        options: The validated options.

    Returns:
        The content of sample.json.

    Raises:
        UsageError: The output folder has other content, or a sample that may not be replaced.
    """
    _check(options)
    summary = write_sample(options.output, options.seed, options.scale)
    counts = summary["counts"]
    print(
        f"{counts['files']} files in {options.output / 'images'}: {counts['good']} good photographs of "
        f"{counts['lesions']} lesions in {len(summary['classes'])} classes, {len(summary['troubles'])} with trouble\n"
        f"{counts['archive_files']} unlabelled files in {options.output / 'archive'}, "
        f"{len(summary['archive_troubles'])} with trouble\n"
        f"lesion ids in {options.output / 'metadata.csv'}, the list of troubles in {options.output / SUMMARY}"
    )
    return summary


def main(argv: Sequence[str] | None = None) -> None:
    """Write the sample that the command line asks for.

    Args:
        argv: Arguments without the program name; None for `sys.argv`.

    Raises:
        UsageError: An option is wrong, or the output folder cannot be written.
    """
    parser = ArgumentParser(
        prog="python -m pipelines.demo.sample",
        description="Write a small archive of synthetic lesion images, some of them broken on purpose, to try\n"
        "the other commands on. The pictures are drawings: good for tests, useless for medicine.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed draws other lesions; 0 or more")
    parser.add_argument("--overwrite", action="store_true", help="replace a sample that this program wrote before")
    arguments = parser.parse_args(argv)
    if not str(arguments.output).strip("."):
        raise UsageError("--output: name a directory of its own")
    if arguments.seed < 0:
        raise UsageError(f"--seed {arguments.seed}: must be 0 or more")
    options = SampleOptions(output=arguments.output, seed=arguments.seed, overwrite=arguments.overwrite)
    try:
        run(options)
    except OSError as error:
        raise UsageError(f"--output {str(options.output)!r} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    run_command("pipelines.demo.sample", main)
