"""Keys of what has been scored: which files they tell apart, and the set that looks them up."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipelines.common.cli import UsageError
from pipelines.score.scored_keys import (
    UNCHANGED,
    ScoredKeys,
    by_key,
    pack_keys,
    read_scored_keys,
    require_scored_keys,
    scored_key,
    unpack_keys,
)
from pipelines.score.skip_scored import SkipScored
from pipelines.sources import list_images
from pipelines.sources.source_file import SourceFile
from tests.support.collecting import run_source

MODELS = "f" * 64


def listed(*roots: object) -> list[SourceFile]:
    """The images that inputs hold, as a run lists them."""
    chunks = run_source(list_images.ListImages([str(root) for root in roots]))
    return [found.file for chunk in chunks for found in list_images.images_of(chunk)]


def keys(*roots: object, models: str = MODELS) -> list[bytes]:
    return [scored_key(file, models) for file in listed(*roots)]


def drawn_keys(seed: int, count: int) -> list[bytes]:
    return unpack_keys(np.random.default_rng(seed).bytes(16 * count))


@pytest.mark.parametrize("seed", range(5))
def test_a_set_says_what_a_set_says(seed: int) -> None:
    random = np.random.default_rng(seed)
    inside = drawn_keys(seed, int(random.integers(1, 3000)))
    asked = [*drawn_keys(seed + 100, 500), *(inside[place] for place in random.integers(0, len(inside), 500))]
    # Half of a key that is in the set, either half, does not make another one known.
    asked += [key[:8] + other[8:] for key, other in zip(asked[500:600], asked[:100], strict=True)]
    asked += [other[:8] + key[8:] for key, other in zip(asked[500:600], asked[:100], strict=True)]
    expected = set(inside)
    scored = ScoredKeys(pack_keys(inside))
    assert len(scored) == len(inside)
    assert scored.contains(asked).tolist() == [key in expected for key in asked]


def test_keys_that_share_their_first_half_are_never_taken_for_another() -> None:
    first, *others = (b"\xff" * 8 + bytes([number]) * 8 for number in range(5))
    outside = b"\xff" * 8 + b"\x77" * 8
    scored = ScoredKeys(pack_keys([*others, first]))
    found = scored.contains([first, *others, outside, b"\0" * 16, b"\xff" * 16])
    assert found[:5].any()
    assert not found[5:].any()


def test_the_ends_of_the_range_and_empty_sets() -> None:
    edges = [b"\0" * 16, b"\xff" * 16]
    assert ScoredKeys(pack_keys(edges)).contains([*edges, b"\0" * 15 + b"\1"]).tolist() == [True, True, False]
    assert ScoredKeys(b"").contains(edges).tolist() == [False, False]
    assert ScoredKeys(pack_keys(edges)).contains([]).tolist() == []


def test_packed_keys_come_back_in_the_order_of_their_file() -> None:
    some = drawn_keys(7, 40)
    assert unpack_keys(pack_keys(some)) == some
    assert sorted(some, key=by_key) == sorted(some)


def test_one_file_has_one_key_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "1.jpg").write_bytes(b"1")
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    spelled = (folder, "images", "./images/", "images/../images", "link", "link/inner", "images/inner/1.jpg", "im*/*")
    assert len({key for root in spelled for key in keys(root)}) == 1
    # A link to the file itself is a file of its own, in a folder that may say something else.
    (folder / "2.jpg").symlink_to(folder / "inner" / "1.jpg")
    assert len(set(keys(folder))) == 2


def test_another_size_version_place_or_model_is_another_key(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(b"12")
    os.utime(path, ns=(10**18, 10**18))
    found = {*keys(path), *keys(path)}
    assert len(found) == 1
    found.update(keys(path, models="0" * 64))
    (tmp_path / "2.jpg").hardlink_to(path)
    found.update(keys(tmp_path / "2.jpg"))
    path.write_bytes(b"1")
    os.utime(path, ns=(10**18, 10**18))
    found.update(keys(path))
    os.utime(path, ns=(10**18, 10**18 + 1))
    found.update(keys(path))
    assert len(found) == 5


def test_members_of_archives_differ_by_archive_name_and_content(tmp_path: Path) -> None:
    for name, members in (("a", {"1.jpg": b"x", "x/../1.jpg": b"x"}), ("b", {"1.jpg": b"x"})):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
    found = {*keys(tmp_path / "a.zip"), *keys(tmp_path / "b.zip")}
    assert len(found) == 3
    assert set(keys(f"{tmp_path}/./a.zip")) < found
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("1.jpg", b"y")
    assert not found & set(keys(tmp_path / "b.zip"))


def test_names_that_are_no_text_have_keys() -> None:
    files = [list_images.SourceFile(path, path, 1) for path in ("a\udcff.jpg", "a\udcfe.jpg", "a\n.jpg", "a\0.jpg", "")]
    assert len({scored_key(file, MODELS) for file in files}) == 5


def test_what_is_known_is_counted_and_the_rest_passes(tmp_path: Path) -> None:
    files = [list_images.SourceFile(f"/{number}.jpg", f"{number}.jpg", number) for number in range(10)]
    (tmp_path / "_seen-00000-of-00002.keys").write_bytes(pack_keys(scored_key(file, MODELS) for file in files[:3]))
    (tmp_path / "_seen-00001-of-00002.keys").write_bytes(pack_keys(scored_key(file, MODELS) for file in files[5:7]))
    skip = SkipScored([str(tmp_path)], MODELS)
    skip.setup()
    fresh, unchanged = skip.process([list_images.ListedFile("/", file) for file in files])
    assert [entry.file for entry in fresh] == [*files[3:5], *files[7:]]
    assert unchanged.tag == UNCHANGED
    assert unchanged.value["outcome", UNCHANGED] == 5
    assert list(skip.process([list_images.ListedFile("/", files[4])])) == [[list_images.ListedFile("/", files[4])]]
    (nothing_left,) = skip.process([list_images.ListedFile("/", files[0])])
    assert nothing_left.tag == UNCHANGED


def test_a_damaged_file_of_keys_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "_seen-00000-of-00001.keys"
    path.write_bytes(bytes(33))
    with pytest.raises(ValueError, match="damaged: 33 bytes"):
        read_scored_keys([str(tmp_path)])
    with pytest.raises(UsageError, match=f"--previous: .*{path} is damaged: 33 bytes") as caught:
        require_scored_keys("--previous", [str(tmp_path)])
    assert "\n" not in str(caught.value)
    path.write_bytes(bytes(32))
    require_scored_keys("--previous", [str(tmp_path)])
    assert len(read_scored_keys([str(tmp_path)])) == 2
    require_scored_keys("--previous", [])
    assert len(read_scored_keys([])) == 0
