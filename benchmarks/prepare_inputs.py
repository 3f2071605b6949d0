"""Archives of any size for `benchmarks.prepare`, made of the pictures of a folder or of drawn ones.

The first files of an archive are links to the pictures. Beyond their number a file shows one of them again, rolled
round by fifths of its sides and encoded with its own tables. So every file has bytes, a perceptual hash and a thumbnail
of its own, and costs what a photograph costs. Plain copies would be near-duplicates of each other and give prepare
pairs to compare that no archive has.
"""

from __future__ import annotations

import csv
import itertools
import multiprocessing
import os
import sys
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageChops, JpegImagePlugin

from pipelines.demo.synthetic_lesions import photograph
from pipelines.domain.taxonomy import built_in_set

# So many places a picture can be rolled to in each direction, its own included.
STEPS = 5
CLASSES = built_in_set("isic9").classes
SUFFIXES = (".jpg", ".jpeg", ".png")
# As in HAM10000.
_DRAWN_SIZE = (600, 450)


class Archive(NamedTuple):
    """Files to prepare."""

    images: Path  # a folder without folders
    table: Path  # id, lesion and class of each file
    files: int

    def read(self) -> None:
        """Read every file, so that no command finds less in the system's cache than another."""
        for path in self.images.iterdir():
            path.read_bytes()


class _Missing(NamedTuple):
    """A file that is to be made: of a picture, or drawn."""

    path: Path
    number: int
    source: Path | None
    turn: int = 0


def _write(path: Path, image: Image.Image, **options: object) -> None:
    # Renamed when whole: what an interrupted run has left is used by the next.
    unfinished = path.with_suffix(".part")
    image.save(unfinished, **options)  # type: ignore[arg-type]
    unfinished.rename(path)


def _make(file: _Missing) -> None:
    if file.source is None:
        drawn = photograph(CLASSES[file.number % len(CLASSES)], [file.number], 0)
        _write(file.path, drawn.resize(_DRAWN_SIZE, Image.Resampling.BICUBIC), format="JPEG", quality=90)
        return
    with Image.open(file.source) as image:
        across, down = file.turn % STEPS * image.width // STEPS, file.turn // STEPS * image.height // STEPS
        rolled = ImageChops.offset(image.convert("RGB"), across, down)
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            sampling = JpegImagePlugin.get_sampling(image)
            _write(file.path, rolled, format="JPEG", qtables=image.quantization, subsampling=sampling)
        else:
            _write(file.path, rolled, format="PNG")


class Archives:
    """Makes archives in a folder, where the next run finds them.

    Args:
        work: The folder.
        images: A folder of distinct pictures, at any depth; None: they are drawn.
    """

    def __init__(self, work: Path, images: Path | None = None):
        self._work = work.absolute()
        found = sorted(images.absolute().rglob("*")) if images else []
        self._sources = [path for path in found if path.suffix.lower() in SUFFIXES]
        # More than this many files the pictures do not give.
        self.most = len(self._sources) * STEPS * STEPS if images else sys.maxsize

    def of(self, count: int) -> Archive:
        """Return an archive of so many files, `most` at most; what is missing of it is made."""
        folder = self._work / f"archive-{count}"
        archive = Archive(folder / "images", folder / "table.csv", count)
        # Written last: where it is, all is.
        if not archive.table.is_file():
            archive.images.mkdir(parents=True, exist_ok=True)
            for index, path in enumerate(self._files(count)):
                link = archive.images / f"ISIC_{index:07d}{path.suffix.lower()}"
                link.unlink(missing_ok=True)
                link.symlink_to(path)
            _write_table(archive)
        return archive

    def _files(self, count: int) -> list[Path]:
        """Return the first `count` files; those that are not there are made."""
        folder = self._work / "files"
        folder.mkdir(parents=True, exist_ok=True)
        paths = self._sources[:count]
        sources = itertools.cycle(self._sources or [None])
        wanted = []
        for index, source in zip(range(count), sources, strict=False):
            if index >= len(self._sources):
                path = folder / f"{index:07d}{source.suffix.lower() if source else '.jpg'}"
                paths.append(path)
                wanted.append(_Missing(path, index, source, index // max(len(self._sources), 1)))
        with multiprocessing.Pool(os.cpu_count()) as pool:
            pool.map(_make, [file for file in wanted if not file.path.is_file()])
        return paths


def _write_table(archive: Archive) -> None:
    """Write the table of an archive: three lesions for four images, as many images for each class."""
    with archive.table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("isic_id", "lesion_id", "diagnosis"))
        for index in range(archive.files):
            lesion = index * 3 // 4
            writer.writerow((f"ISIC_{index:07d}", f"IL_{lesion:07d}", CLASSES[lesion % len(CLASSES)]))
