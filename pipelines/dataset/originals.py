"""What the records of an image are made of: its encoded original, and the channel sums of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from pipelines.common.seeding import stable_hash
from pipelines.dataset.record_spec import RecordSpec
from pipelines.imaging import images
from pipelines.imaging.encoding import encode


class Original(NamedTuple):
    """An image as its first record holds it."""

    encoded: bytes  # `image/encoded`
    sums: tuple[int, ...]  # three channel sums, then three sums of squares; see `images.channel_sums`


def _original(image: Image.Image, spec: RecordSpec) -> Original:
    sums, squares = images.channel_sums(image)
    return Original(encode(np.asarray(image), spec.encoding), (*sums, *squares))


def original_of(data: bytes, spec: RecordSpec) -> Original:
    """Make the original of an image file.

    Args:
        data: The file's bytes.
        spec: How images become records.

    Raises:
        BadImage: The file is not a usable image, or it is damaged.
    """
    return _original(Image.fromarray(images.standardize(data, spec.image_size, spec.aspect)), spec)


def own_reduction(info: images.ImageInfo, spec: RecordSpec) -> int:
    """Return the factor by which an image may be shrunk while it is decoded for its records alone.

    Args:
        info: The facts of the file's header.
        spec: How images become records.
    """
    return images.reduction(info.width, info.height, spec.image_size, spec.aspect)


def make_original(data: bytes, info: images.ImageInfo, factor: int, decoded: Image.Image, spec: RecordSpec) -> Original:
    """Make the same as `original_of` from an image that has been decoded already.

    Args:
        data: The file's bytes. They are decoded again only where records need another scale.
        info: The facts of its header.
        factor: The factor by which the decoded image was shrunk.
        decoded: The decoded image.
        spec: How images become records.

    Raises:
        BadImage: The file is damaged.
    """
    wanted = own_reduction(info, spec)
    if wanted != factor and info.format == "jpeg":
        decoded = images.decode_image(data, wanted)
    return _original(images.fit(decoded, spec.image_size, spec.aspect), spec)


def shard_order(seed: int, sha256: str) -> int:
    """Return the place of an image in the order by which images are dealt out to shards, from 0 to 2**64 - 1.

    Images next to each other in this order are in one shard, so what belongs to them can be read at once.
    """
    return stable_hash(seed, "shard", sha256)
