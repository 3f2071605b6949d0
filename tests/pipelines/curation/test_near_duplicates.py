"""Near-duplicates: copies are found however they were made, different photographs are not, limits are counted."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import threadpoolctl

from pipelines.curation import near_duplicates
from pipelines.curation.near_duplicates import FindNearDuplicates, NearPair, Picture, SkippedBucket
from pipelines.domain.image_ids import image_id_of
from pipelines.imaging import images, perceptual
from pipelines.storage.filesystem import read_bytes
from tests.support.collecting import run
from tests.support.lookalikes import COPIES, photograph, picture, picture_of, thumbnail_of


@pytest.fixture(autouse=True, scope="module")
def _one_blas_thread() -> Iterator[None]:
    """As in the DoFns that decode: threads of tiny matrix products only wait for each other."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


class _Output(beam.PTransform):
    """One of FindNearDuplicates' two outputs."""

    def __init__(self, index: int, load: Callable[[list[Any]], list[bytes]] = list):
        super().__init__()
        self._index = index
        self._load = load

    def expand(self, pictures: beam.PCollection) -> beam.PCollection:
        return (pictures | FindNearDuplicates(self._load))[self._index]


def archive() -> list[Picture]:
    copies = [picture(f"picture {seed} copy", COPIES["squashed"](photograph(seed))) for seed in range(0, 60, 10)]
    return [picture(f"picture {seed}", photograph(seed)) for seed in range(60)] + copies


def test_each_copy_is_found_once_and_nothing_else() -> None:
    pairs = run(archive(), _Output(0))
    assert sorted(pair[:2] for pair in pairs) == sorted((f"picture {n}", f"picture {n} copy") for n in range(0, 60, 10))
    for pair in pairs:
        assert isinstance(pair, NearPair)
        assert pair.hash_distance <= near_duplicates.MAX_HASH_DISTANCE
        assert 0 <= pair.pixel_distance <= perceptual.SAME_PICTURE


def test_result_does_not_depend_on_the_order() -> None:
    assert sorted(run(archive(), _Output(0))) == sorted(run(archive()[::-1], _Output(0)))


def test_equal_hashes_of_different_pictures_are_no_pair() -> None:
    pictures = [picture_of(f"{seed}", 12345, thumbnail_of(np.asarray(photograph(seed)))) for seed in range(6)]
    assert run(pictures, _Output(0)) == []


def test_hashes_that_share_a_band_but_lie_far_apart_are_no_pair() -> None:
    thumbnail = thumbnail_of(np.asarray(photograph(0)))
    far = ((1 << 63) - 1) & ~near_duplicates.BAND_MASKS[0]
    assert run([picture_of("a", 0, thumbnail), picture_of("b", far, thumbnail)], _Output(0)) == []


def test_one_picture_or_none_has_no_pairs() -> None:
    assert run([], _Output(0)) == []
    assert run([picture("alone", photograph(0))], _Output(0)) == []


def test_pictures_with_names_of_any_kind_are_paired() -> None:
    names = ["ü (1).jpg", "\U0001f642.jpg", "zip!a/b c.jpg"]
    pairs = run([picture(name, photograph(3)) for name in names], _Output(0))
    ordered = sorted(names)
    assert sorted(pair[:2] for pair in pairs) == [(a, b) for n, a in enumerate(ordered) for b in ordered[n + 1 :]]


def _connected(pairs: list[NearPair], members: int) -> bool:
    reached, links = {"000"}, [set(pair[:2]) for pair in pairs]
    for _ in range(members):
        reached |= {name for link in links if link & reached for name in link}
    return len(reached) == members


def test_a_crowd_is_bounded_counted_and_still_connected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "BUCKET_LIMIT", 20)
    monkeypatch.setattr(near_duplicates, "WINDOW", 10)
    monkeypatch.setattr(near_duplicates, "PARTNERS", 3)
    one = picture("", photograph(5))
    crowd = [one._replace(identity=f"{number:03d}") for number in range(50)]
    pairs, skipped = run(crowd, _Output(0)), run(crowd[::-1], _Output(1))
    followed = 47 * 3 + 2 + 1
    assert len(pairs) == followed
    assert _connected(pairs, 50)
    assert len(skipped) == near_duplicates.BANDS
    assert {(bucket.members, bucket.skipped) for bucket in skipped} == {(50, 50 * 49 // 2 - followed)}
    assert sorted(pairs) == sorted(run(crowd[::-1], _Output(0)))


def test_the_nearest_partners_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Among many pictures with similar sketches, a picture's true copy is not crowded out."""
    monkeypatch.setattr(near_duplicates, "PARTNERS", 2)
    rng = np.random.default_rng(1)
    base = np.asarray(photograph(8).resize((16, 16))).astype(int)
    pictures = [
        picture_of(f"m{number:02d}", 777, (base + rng.normal(0, 5, base.shape)).clip(0, 255).astype(np.uint8).tobytes())
        for number in range(20)
    ]
    pictures += [
        picture_of("a", 777, base.astype(np.uint8).tobytes()),
        picture_of("z", 777, (base + 1).astype(np.uint8).tobytes()),
    ]
    assert ("a", "z") in {pair[:2] for pair in run(pictures, _Output(0))}
    assert all(isinstance(bucket, SkippedBucket) for bucket in run(pictures, _Output(1)))


def test_only_thumbnails_of_pictures_with_a_candidate_are_loaded(tmp_path: Path) -> None:
    one = picture("", photograph(5))
    kept = str(tmp_path / "thumbnail")
    Path(kept).write_bytes(one.thumbnail)
    twins = [one._replace(identity=name, thumbnail=kept) for name in ("first", "second")]
    # It has no band in common with the others, and nobody misses its thumbnail.
    alone = one._replace(identity="alone", phash=~one.phash & ((1 << 63) - 1), thumbnail=str(tmp_path / "missing"))
    load = functools.partial(_read_all, str(tmp_path / "asked"))
    assert run([*twins, alone], _Output(0, load)) == [NearPair("first", "second", 0, 0.0)]
    # Both at once.
    assert (tmp_path / "asked").read_text().split() == ["2"]


def _read_all(log: str, paths: list[str]) -> list[bytes]:
    if paths:
        with open(log, "a") as file:
            print(len(paths), file=file)
    return [read_bytes(path) for path in paths]


def _signature_of(path: Path) -> tuple[int, bytes]:
    data = path.read_bytes()
    info = images.read_info(data)
    factor = images.reduction(info.width, info.height, images.SHARED_SIDE, "stretch")
    return perceptual.signature(perceptual.square_of(images.decode_image(data, factor)))


def test_real_images_in_two_encodings(shared_data: Path) -> None:
    """The nine-class set's squashed copies find their HAM10000 originals, and no pair joins two lesions."""
    with open(shared_data / "ham10000" / "HAM10000_metadata.csv", newline="", encoding="utf-8") as file:
        lesions = {row["image_id"]: row["lesion_id"] for row in csv.DictReader(file)}
    originals = {image_id_of(path.name): path for path in (shared_data / "ham10000" / "images").glob("*.jpg")}
    squashed = {image_id_of(path.name): path for path in (shared_data / "isic9" / "Train").glob("*/*.jpg")}
    shared = sorted(originals.keys() & squashed.keys())
    assert len(shared) > 500
    shared = shared[::3]
    others = sorted(originals.keys() - squashed.keys())[:300]
    pictures = [picture_of(f"{image_id} ham", *_signature_of(originals[image_id])) for image_id in shared + others]
    pictures += [picture_of(f"{image_id} nine", *_signature_of(squashed[image_id])) for image_id in shared]
    pairs = {pair[:2] for pair in run(pictures, _Output(0))}
    assert {(f"{image_id} ham", f"{image_id} nine") for image_id in shared} <= pairs
    assert all(lesions[first.split()[0]] == lesions[second.split()[0]] for first, second in pairs)
