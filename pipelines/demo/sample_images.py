"""Draw the pictures of the sample archive, with their table and the troubles among them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.demo.synthetic_lesions import photograph
from pipelines.domain.diagnoses import CLASS_SETS

CLASSES = CLASS_SETS["isic9"]
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
FIRST_ID = 9_900_000
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


def write_images(root: Path, seed: int, scale: float) -> tuple[dict, list[dict[str, str]], list[dict], list[str]]:
    """Write images/.

    Returns:
        Counts per class; rows of metadata.csv, sorted by id; troubles; paths of photographs with an EXIF orientation.
        Paths are relative to `root`.
    """
    pictures = list(_labelled(scale))
    # Shuffle the ids, so that consecutive ids do not belong to the same class.
    ids = FIRST_ID + 1 + np.random.default_rng([seed, 1]).permutation(len(pictures) + 8)
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
        lesion_id = lesion_ids.setdefault((label, lesion), f"IL_{FIRST_ID + len(lesion_ids) + 1:07d}")
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
        rows.append(_metadata_row(path.stem, f"IL_{FIRST_ID + len(lesion_ids) + 1 + k:07d}", [seed, 4, 2, k]))
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


def write_archive(root: Path, seed: int, scale: float) -> tuple[int, list[dict]]:
    """Write archive/.

    Returns:
        The number of files, and the troubles among them.
    """
    count = max(FEWEST_ARCHIVE_IMAGES, round(ARCHIVE_IMAGES * scale))
    labels = np.random.default_rng([seed, 5]).integers(0, len(CLASSES), count)
    troubles = []
    for number, label in enumerate(labels):
        place = _ARCHIVE_PLACES[number % len(_ARCHIVE_PLACES)]
        path = root / "archive" / place.format(id=f"ISIC_{FIRST_ID + 50_001 + number:07d}")
        data = _encode(photograph(CLASSES[label], [seed, 6, number], 0), path.suffix)
        if number == 7:
            data = data[: len(data) // 2]
            troubles.append({"path": path.relative_to(root).as_posix(), "reason": "undecodable"})
        _write(path, data)
    return count, troubles
