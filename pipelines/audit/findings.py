"""What an audit counts and lists: pure functions of rows, and the small records that reports are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pipelines.common.text import printable
from pipelines.curation.near_duplicates import NearPair
from pipelines.dataset.accounting import tally_outcome
from pipelines.dataset.image_row import DUPLICATE, REJECTED, USABLE, ImageRow, Place, place_of
from pipelines.domain.identities import reach_of
from pipelines.domain.image_ids import has_copy_number, isic_id_of
from pipelines.domain.labels import Claim

OUTCOMES_OF_AUDIT = (USABLE, DUPLICATE, REJECTED)

LABEL_CONFLICT = "label_conflict"

# Kinds of things with ids.
IMAGE, LESION, PATIENT = "image", "lesion", "patient"


class IdConflict(NamedTuple):
    """Different pictures that share an image id."""

    image_id: str
    places: tuple[Place, ...]  # their files


class Conflict(NamedTuple):
    """An image on whose class its sources disagree."""

    image_id: str
    places: tuple[Place, ...]  # its files
    claims: tuple[Claim, ...]  # all claims about its class


class Picture(NamedTuple):
    """One side of a pair of near-duplicates."""

    image_id: str
    place: Place
    label: str
    lesion_ids: tuple[str, ...]


class NearPictures(NamedTuple):
    """A pair of near-duplicates with what is known of both images."""

    first: Picture
    second: Picture
    hash_distance: int
    pixel_distance: float


def tally_finding(row: ImageRow) -> Counter:
    """Return what a finished row adds to the totals; the number of keys does not grow with the archive."""
    counts = tally_outcome(row)
    if row.outcome == USABLE:
        counts["class", row.label, row.source] = 1
        counts["split", row.label, row.split] = 1
    else:
        counts["reason", row.stage, row.reason] = 1
    if has_copy_number(row.relative):
        counts["numbered",] = 1
    # A duplicate shows what the file that is kept shows.
    if row.issues and row.outcome != DUPLICATE:
        counts["with issue",] = 1
        counts.update({("issue", name): 1 for name in row.issues})
    if row.format:
        counts["format", row.format] = 1
    if row.given_split or row.folder_split:
        counts["given", row.given_split or row.folder_split] = 1
    return counts


def sizes_of(row: ImageRow) -> Iterator[tuple[int, int, int]]:
    """Yield (pixels, width, height) of a readable image; these tuples sort by size."""
    if row.width:
        yield row.width * row.height, row.width, row.height


def image_name(row: ImageRow) -> str:
    """Return the identity of a row's image.

    It is the ISIC id if the file name has one. Any other id is a plain file name and identifies an image only within
    its source.
    """
    return isic_id_of(row.relative) or f"{row.source}\x1f{row.image_id}"


def ids_of(row: ImageRow) -> Iterator[tuple[str, str]]:
    """Yield (kind, id) for the image itself, its lesions and its patients."""
    yield IMAGE, image_name(row)
    yield from ((LESION, lesion) for lesion in row.lesion_ids)
    yield from ((PATIENT, patient) for patient in row.patient_ids)


def tally_id(kind: str, identity: str) -> Counter:
    """Return the counts for one id: that it exists and, for lesions and patients, how far it holds."""
    counts: Counter = Counter({("ids", kind): 1})
    if kind != IMAGE:
        counts["reach", kind, reach_of(identity)] = 1
    return counts


def tally_one(kind: str, images: Iterable[str]) -> Counter:
    """Return the counts for one lesion or patient: that there is one more, and whether it has several images.

    Args:
        kind: LESION or PATIENT.
        images: The names of its images.
    """
    several = len(set(images)) > 1
    return Counter({("distinct", kind): 1, ("several", kind): int(several)})


def tally_ids(element: tuple[str, Iterable[tuple[bool, bool]]]) -> Counter:
    """Return the counts for one image: whether its lesion and its patient are known.

    Args:
        element: Image name, and (has a lesion id, has a patient id) of each of its files.
    """
    lesions, patients = zip(*element[1], strict=True)
    return Counter({("with", "lesion"): int(any(lesions)), ("with", "patient"): int(any(patients))})


def make_conflict(rows: Iterable[ImageRow]) -> Conflict:
    """Return the conflict of one image, made from all of its rejected files."""
    ordered = sorted(rows, key=lambda row: (row.relative, row.path))
    claims = sorted({claim for row in ordered for claim in row.claims})
    return Conflict(ordered[0].image_id, tuple(map(place_of, ordered)), tuple(claims))


def conflict_json(conflict: Conflict) -> dict:
    """Return a conflict as audit.json and the list of conflicts show it."""
    return {
        "id": conflict.image_id,
        "paths": [printable(place.path) for place in conflict.places],
        "claims": [{"source": claim.source, "labels": list(claim.labels)} for claim in conflict.claims if claim.labels],
    }


def make_id_conflict(rows: Iterable[ImageRow]) -> IdConflict:
    """Return the conflict of one id, made from all of its rejected files."""
    ordered = sorted(rows, key=lambda row: (row.relative, row.path))
    return IdConflict(ordered[0].image_id, tuple(map(place_of, ordered)))


def id_conflict_json(conflict: IdConflict) -> dict:
    """Return a conflict of ids as audit.json shows it."""
    return {"id": conflict.image_id, "paths": [printable(place.path) for place in conflict.places]}


def mask_json(row: ImageRow) -> dict:
    """Return a mask as audit.json shows it, with the photograph that it belongs to, if that is known."""
    return {"path": printable(row.path), "of": printable(row.image_of) or None, "message": row.message}


def differs(pair: NearPictures) -> bool:
    """Return whether both images have a label and the labels differ; a rejected image may have no label."""
    return bool(pair.first.label and pair.second.label) and pair.first.label != pair.second.label


def picture_of(row: ImageRow) -> Picture:
    """Return a row as one side of a pair."""
    return Picture(row.image_id, place_of(row), row.label, row.lesion_ids)


def pair_pictures(pair: NearPair, pictures: dict[str, Picture]) -> NearPictures:
    """Return a pair of near-duplicates with its pictures.

    Args:
        pair: A pair of content hashes.
        pictures: Content hash -> picture.
    """
    return NearPictures(pictures[pair.first], pictures[pair.second], pair.hash_distance, pair.pixel_distance)


def _picture_json(picture: Picture) -> dict:
    return {
        "id": picture.image_id,
        "path": printable(picture.place.path),
        "label": picture.label,
        "lesion_ids": list(picture.lesion_ids),
    }


def near_json(pair: NearPictures) -> dict:
    """Return a pair of near-duplicates as audit.json and the list of pairs show it."""
    return {
        "first": _picture_json(pair.first),
        "second": _picture_json(pair.second),
        "hash_distance": pair.hash_distance,
        "pixel_distance": round(pair.pixel_distance, 4),
    }
