"""List a Google Cloud Storage bucket in parts: disjoint ranges that cover every name, for different workers.

One page of a listing returns a thousand objects with their sizes and versions; no object is queried on its own.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.common.gcs_client import gcs_client
from pipelines.storage.errors import storage_errors
from pipelines.storage.file_versions import BLOB_FIELDS, FileVersion, blob_version

# ISIC archives are flat folders of names like ISIC_0000000.jpg: a split by first letter would keep them together.
_ISIC = [f"ISIC_{digit}" for digit in string.digits]
_SPLITS = sorted([*string.digits, *string.ascii_letters, *_ISIC])


class NameRange(NamedTuple):
    """Objects in a range of names.

    Names are compared by their UTF-8 bytes, as the store does.
    """

    bucket: str
    prefix: str  # common to all names in the range
    start: str | None = None  # inclusive; None: no limit
    end: str | None = None  # exclusive; None: no limit


@storage_errors()
def ranges(bucket: str, prefix: str, split: bool) -> list[NameRange]:
    """Return ranges that together contain every name with a prefix exactly once, whatever characters follow it.

    Args:
        bucket: Name of the bucket.
        prefix: Start of the names.
        split: Whether to split the names into several ranges.

    Returns:
        No range if there is no object; a single one without `split`, or if the listing has only one page.

    Raises:
        StorageError: If the bucket cannot be listed.
    """
    listing = gcs_client().list_blobs(bucket, prefix=prefix, fields="items(name),nextPageToken")
    first = next(listing.pages, None)
    if not listing.next_page_token:
        return [NameRange(bucket, prefix)] if first is not None and first.num_items else []
    points = [prefix + point for point in _SPLITS] if split else []
    return [NameRange(bucket, prefix, *limits) for limits in zip([None, *points], [*points, None], strict=True)]


def list_range(names: NameRange) -> Iterator[tuple[str, FileVersion]]:
    """Yield the name and state of every object in a range, page by page; folder placeholders are left out.

    Raises:
        StorageError: If the bucket cannot be listed.
    """
    with storage_errors():
        for blob in gcs_client().list_blobs(
            names.bucket,
            prefix=names.prefix,
            start_offset=names.start,
            end_offset=names.end,
            fields=f"items({BLOB_FIELDS}),nextPageToken",
        ):
            if not blob.name.endswith("/"):
                yield blob.name, blob_version(blob)


def names_like(bucket: str, prefix: str, glob: str | None) -> Iterator[str]:
    """Yield the names of the objects that match a glob, by which the store chooses.

    Args:
        bucket: Name of the bucket.
        prefix: Start of the names.
        glob: Pattern of whole names, in the syntax of Cloud Storage; None for all names with the prefix.

    Raises:
        StorageError: If the bucket cannot be listed.
    """
    fields = "items(name),nextPageToken"
    with storage_errors():
        for blob in gcs_client().list_blobs(bucket, prefix=prefix, match_glob=glob, fields=fields):
            yield blob.name
