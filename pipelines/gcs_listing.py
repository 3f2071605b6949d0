"""Listing a bucket of Google's in parts: ranges of names that together are every name, listed by different workers.

One page of a listing names a thousand objects with their sizes and versions; nothing is asked of a single object.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import NamedTuple

from apache_beam.io.filesystem import FileSystem

from pipelines.file_states import BLOB_FIELDS, FileState, blob_state
from pipelines.gcs_client import gcs_client

# ISIC archives are flat folders of ISIC_0000000.jpg and the like: one letter would hold them all.
_ISIC = [f"ISIC_{digit}" for digit in string.digits]
_SPLITS = sorted([*string.digits, *string.ascii_letters, *_ISIC])


class NameRange(NamedTuple):
    """Objects whose names begin with `prefix` and are at least `start` and less than `end` (None: no limit).

    Names are compared by their UTF-8 bytes, as the store does.
    """

    bucket: str
    prefix: str
    start: str | None = None
    end: str | None = None


def ranges(bucket: str, prefix: str, split: bool) -> list[NameRange]:
    """Ranges that together hold every name with this prefix once, whatever its alphabet; none if there is no object.

    One range if they are not to be split, or where a listing has a single page.
    """
    listing = gcs_client().list_blobs(bucket, prefix=prefix, fields="items(name),nextPageToken")
    first = next(listing.pages, None)
    if not listing.next_page_token:
        return [NameRange(bucket, prefix)] if first is not None and first.num_items else []
    points = [prefix + point for point in _SPLITS] if split else []
    return [NameRange(bucket, prefix, *limits) for limits in zip([None, *points], [*points, None], strict=True)]


def list_range(names: NameRange) -> Iterator[tuple[str, FileState]]:
    """Name and state of every object in a range, page by page; without those that stand for a folder."""
    for blob in gcs_client().list_blobs(
        names.bucket,
        prefix=names.prefix,
        start_offset=names.start,
        end_offset=names.end,
        fields=f"items({BLOB_FIELDS}),nextPageToken",
    ):
        if not blob.name.endswith("/"):
            yield blob.name, blob_state(blob)


def matcher(pattern: str) -> re.Pattern[str]:
    """What a whole path must match to be one of a glob's."""
    return re.compile(FileSystem.translate_pattern(pattern))
