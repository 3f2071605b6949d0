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
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.common.cli import ArgumentParser, UsageError, run_command
from pipelines.demo.synthetic_lesions import photograph
from pipelines.domain.taxonomy import CLASS_SETS

SUMMARY = "sample.json"
CLASSES = CLASS_SETS["isic9"]
_IN_PROGRESS = ".sample-in-progress"


# Lesions per class at scale 1, as imbalanced as in a clinic's archive.
LESIONS = {
    "actinic keratosis": 19,
    "basal cell carcinoma": 29,
    "dermatofibroma": 13,
    "melanoma": 39,
    "nevus": 56,
    "pigmented benign keratosis": 33,
    "seborrheic keratosis": 24,
    "squamous cell carcinoma": 16,
    "vascular lesion": 20,
}
FEWEST_LESIONS = 8
ARCHIVE_IMAGES = 60
FEWEST_ARCHIVE_IMAGES = 12
_FIRST_ID = 9_900_000
_SITES = ("anterior torso", "head/neck", "lower extremity", "posterior torso", "upper extremity")
# Paths of the images in archive/, used in turn. Names with spaces and other scripts are common in real archives.
_ARCHIVE_PLACES = (
    "{id}.jpg",
    "2023/clinic a/{id}.jpg",
    "2023/clinic a/visit 2/{id} overview.jpg",
    "2024/Universitätsklinik München/{id}_Läsion.jpg",
    "2024/皮膚科/{id} 画像.png",
    "2024/{id}.JPEG",
)


@dataclass(frozen=True)
class SampleOptions:
    """The validated command-line options."""

    output: Path
    seed: int = 0
    # Factor for the counts, to make small samples for quick tests. Each class keeps at least FEWEST_LESIONS lesions;
    # the troubles stay the same.
    scale: float = 1.0
    overwrite: bool = False


def _photographs_of(lesion: int) -> int:
    """Return the number of photographs of a lesion, given its number in its class: mostly 1, sometimes 2 or 3."""
    return {2: 2, 5: 3}.get(lesion % 8, 1)


def _encode(image: Image.Image, suffix: str, orientation: int = 1) -> bytes:
    """Encode an RGB image as a file. With EXIF orientation 6, store the pixels turned 90 degrees counterclockwise."""
    buffer = io.BytesIO()
    if suffix == ".png":
        image.save(buffer, "PNG")
    elif orientation == 1:
        image.save(buffer, "JPEG", quality=90)
    else:
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = image.transpose({6: Image.Transpose.ROTATE_90}[orientation])
        turned.save(buffer, "JPEG", quality=90, exif=exif.tobytes())
    return buffer.getvalue()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _labelled(scale: float) -> Iterator[tuple[int, int, int]]:
    """Yield (class index, lesion, photograph) of every labelled picture; lesions are numbered within their class."""
    for label, name in enumerate(CLASSES):
        for lesion in range(max(FEWEST_LESIONS, round(LESIONS[name] * scale))):
            for photo in range(_photographs_of(lesion)):
                yield label, lesion, photo


def _write_images(root: Path, seed: int, scale: float) -> tuple[dict, list[dict[str, str]], list[dict], list[str]]:
    """Write images/.

    Returns:
        Counts per class; rows of metadata.csv, sorted by id; troubles; paths of photographs with an EXIF orientation.
        Paths are relative to `root`.
    """
    pictures = list(_labelled(scale))
    # Shuffle the ids, so that consecutive ids do not belong to the same class.
    ids = _FIRST_ID + 1 + np.random.default_rng([seed, 1]).permutation(len(pictures) + 8)
    isic_ids = iter([f"ISIC_{number:07d}" for number in ids])
    per_class = {name: {"lesions": 0, "photographs": 0} for name in CLASSES}
    rows, oriented, paths = [], [], {}
    lesion_ids: dict[tuple[int, int], str] = {}

    for number, (label, lesion, photo) in enumerate(pictures):
        name = CLASSES[label]
        image = photograph(name, [seed, 2, label, lesion], photo)
        suffix = ".png" if number % 12 == 7 else ".jpg"
        orientation = 6 if (name, lesion, photo) == ("nevus", 0, 0) else 1
        isic_id = next(isic_ids)
        path = root / "images" / name / f"{isic_id}{suffix}"
        _write(path, _encode(image, suffix, orientation))
        paths[label, lesion, photo] = path
        per_class[name]["photographs"] += 1
        per_class[name]["lesions"] += photo == 0
        if orientation != 1:
            oriented.append(path.relative_to(root).as_posix())
        lesion_id = lesion_ids.setdefault((label, lesion), f"IL_{_FIRST_ID + len(lesion_ids) + 1:07d}")
        # Real archives have images without a recorded lesion.
        unknown = _photographs_of(lesion) == 1 and lesion % 8 == 7
        rows.append(_metadata_row(isic_id, "" if unknown else lesion_id, [seed, 3, label, lesion]))

    def trouble_path(name: str, isic_id: str) -> Path:
        return root / "images" / name / f"{isic_id}.jpg"

    troubles = []

    truncated = trouble_path("melanoma", next(isic_ids))
    whole = _encode(photograph("melanoma", [seed, 4, 0], 0), ".jpg")
    _write(truncated, whole[: len(whole) * 2 // 5])
    troubles.append({"path": truncated, "reason": "undecodable"})

    text = trouble_path("nevus", next(isic_ids))
    _write(text, b"This is a text file that was given the name of a picture.\n")
    troubles.append({"path": text, "reason": "not_an_image"})

    first = paths[CLASSES.index("nevus"), 3, 0]
    copy = first.with_name(f"{first.stem} (1){first.suffix}")
    _write(copy, first.read_bytes())
    troubles.append({"path": copy, "reason": "duplicate", "same_as": first})

    disputed = [trouble_path(name, isic_id) for isic_id in [next(isic_ids)] for name in ("melanoma", "nevus")]
    for path, other in zip(disputed, reversed(disputed), strict=True):
        _write(path, _encode(photograph("nevus", [seed, 4, 1], 0), ".jpg"))
        troubles.append({"path": path, "reason": "label_conflict", "same_as": other})

    _write(root / "images" / "README.txt", b"Synthetic pictures. Not for diagnosis.\n")
    for k, path in enumerate((truncated, text, disputed[0])):
        rows.append(_metadata_row(path.stem, f"IL_{_FIRST_ID + len(lesion_ids) + 1 + k:07d}", [seed, 4, 2, k]))
    relative = [
        {key: value.relative_to(root).as_posix() if isinstance(value, Path) else value for key, value in row.items()}
        for row in troubles
    ]
    return per_class, sorted(rows, key=lambda row: row["isic_id"]), relative, oriented


def _metadata_row(isic_id: str, lesion_id: str, patient_seed: list[int]) -> dict[str, str]:
    rng = np.random.default_rng(patient_seed)
    return {
        "isic_id": isic_id,
        "lesion_id": lesion_id,
        "age_approx": str(5 * int(rng.integers(4, 18))),
        "sex": ("female", "male")[rng.integers(2)],
        "anatom_site_general": _SITES[rng.integers(len(_SITES))],
    }


def _write_archive(root: Path, seed: int, scale: float) -> tuple[int, list[dict]]:
    """Write archive/.

    Returns:
        The number of files, and the troubles among them.
    """
    count = max(FEWEST_ARCHIVE_IMAGES, round(ARCHIVE_IMAGES * scale))
    labels = np.random.default_rng([seed, 5]).integers(0, len(CLASSES), count)
    troubles = []
    for number, label in enumerate(labels):
        place = _ARCHIVE_PLACES[number % len(_ARCHIVE_PLACES)]
        path = root / "archive" / place.format(id=f"ISIC_{_FIRST_ID + 50_001 + number:07d}")
        data = _encode(photograph(CLASSES[label], [seed, 6, number], 0), path.suffix)
        if number == 7:
            data = data[: len(data) // 2]
            troubles.append({"path": path.relative_to(root).as_posix(), "reason": "undecodable"})
        _write(path, data)
    return count, troubles


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

    per_class, rows, troubles, oriented = _write_images(output, seed, scale)
    with open(output / "metadata.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    archive_files, archive_troubles = _write_archive(output, seed, scale)

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
        for path in (output / folder).rglob(f"*ISIC_{_FIRST_ID // 100_000}*"):
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
