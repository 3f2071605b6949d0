"""A Beam filesystem without files: `synthetic://KIND-N/` lists N images and makes up the bytes of each.

`jpg` images show one of a few pictures, for a job that looks at no picture. `png` images each show another, 8 pixels
wide, for one that compares pictures.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from apache_beam.io.filesystem import FileMetadata, FileSystem

from pipelines.imaging.images import encode_jpeg

SCHEME = "synthetic"
PICTURES = [encode_jpeg(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)) for seed in range(8)]
_SIDE = 8


def archive_of(images: int, kind: str = "jpg") -> str:
    """The input that holds this many images."""
    return f"{SCHEME}://{kind}-{images}"


def image_id(number: int) -> str:
    """An image's id."""
    return f"ISIC_{number:07d}"


def path_of(images: int, number: int, kind: str = "jpg") -> str:
    """An image's path, as long as those of real archives."""
    return f"{archive_of(images, kind)}/images/{image_id(number)}.{kind}"


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def noise_png(number: int) -> bytes:
    """A tiny picture unlike any other, encoded without the work of an encoder."""
    values = hashlib.shake_128(number.to_bytes(8, "big")).digest(_SIDE * _SIDE * 3)
    # Each row of pixels follows a byte that says how it is filtered: not at all.
    rows = b"".join(b"\0" + values[start : start + _SIDE * 3] for start in range(0, len(values), _SIDE * 3))
    header = struct.pack(">IIBBBBB", _SIDE, _SIDE, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


_NOISE_BYTES = len(noise_png(0))


def _bytes_of(path: str) -> bytes:
    number = int(path[-11:-4])
    return noise_png(number) if path.endswith(".png") else PICTURES[number % len(PICTURES)]


class SyntheticFileSystem(FileSystem):
    """Lists and reads; nothing is stored. A Beam filesystem is found by its scheme among the subclasses."""

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join((basepath.rstrip("/"), *paths))

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        kind, _, images = dir_or_prefix.removeprefix(f"{SCHEME}://").partition("/")[0].partition("-")
        return (self.metadata(path_of(int(images), number, kind)) for number in range(int(images)))

    def exists(self, path: str) -> bool:
        # Whatever is asked for beside the images (descriptions, tables, markers) is not there.
        return path.endswith((".jpg", ".png"))

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, _NOISE_BYTES if path.endswith(".png") else len(_bytes_of(path)), 1.0)

    def open(self, path: str, mime_type: str = "", compression_type: str = "") -> io.BytesIO:
        return io.BytesIO(_bytes_of(path))

    def size(self, path: str) -> int:
        return self.metadata(path).size_in_bytes

    def last_updated(self, path: str) -> float:
        return self.metadata(path).last_updated_in_seconds

    def checksum(self, path: str) -> None:
        return None

    def _refuse(self, *arguments: Any, **options: Any) -> NoReturn:
        raise OSError(f"{SCHEME}:// cannot be written")

    mkdirs = create = copy = rename = delete = _refuse
