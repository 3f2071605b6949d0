"""The sample archive holds what its sample.json says, and nothing is written or deleted by mistake."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

from pipelines.demo.sample import SampleOptions, run, write_sample
from pipelines.demo.sample_images import FEWEST_LESIONS
from pipelines.demo.synthetic_lesions import PAINTERS, photograph
from pipelines.domain.diagnoses import CLASS_SETS
from tests.support.commands import Command

ISIC9 = CLASS_SETS["isic9"]


def digests(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files(root)}


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("sample")
    return root, write_sample(root, seed=3, scale=0.2)


def test_same_seed_same_bytes_other_seed_other_bytes(sample: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root, summary = sample
    assert write_sample(tmp_path / "again", seed=3, scale=0.2) == summary
    assert digests(tmp_path / "again") == digests(root)
    write_sample(tmp_path / "other", seed=4, scale=0.2)
    theirs, ours = digests(tmp_path / "other"), digests(root)
    pictures = [path for path in ours if path.startswith("archive/")]
    assert all(theirs[path] != ours[path] for path in pictures)


def test_summary_lists_every_file(sample: tuple[Path, dict[str, Any]]) -> None:
    root, summary = sample
    assert json.loads((root / "sample.json").read_text(encoding="utf-8")) == summary
    listed = [path for path in files(root / "images") if path.suffix in (".jpg", ".png")]
    assert len(listed) == summary["counts"]["files"]
    assert len(files(root / "archive")) == summary["counts"]["archive_files"]
    assert [path.relative_to(root).as_posix() for path in files(root / "images") if path not in listed] == summary[
        "not_images"
    ]
    assert summary["counts"]["good"] == sum(row["photographs"] for row in summary["counts"]["per_class"].values())
    assert {path.parent.name for path in listed} == set(ISIC9) == set(PAINTERS)
    assert all(row["lesions"] >= FEWEST_LESIONS for row in summary["counts"]["per_class"].values())
    assert {path.suffix for path in listed} == {".jpg", ".png"}
    names = [path.name for path in files(root / "archive")]
    assert any(" " in name for name in names)
    assert any(not name.isascii() for name in names)


def test_each_trouble_is_what_it_is_called(sample: tuple[Path, dict[str, Any]]) -> None:
    root, summary = sample
    assert Counter(row["reason"] for row in summary["troubles"]) == {
        "undecodable": 1,
        "not_an_image": 1,
        "duplicate": 1,
        "label_conflict": 2,
    }
    for row in [*summary["troubles"], *summary["archive_troubles"]]:
        path = root / row["path"]
        if row["reason"] == "undecodable":
            with Image.open(path) as image, pytest.raises(OSError, match="truncated"):
                image.load()
        elif row["reason"] == "not_an_image":
            with pytest.raises(UnidentifiedImageError):
                Image.open(path)
        else:
            other = root / row["same_as"]
            assert path.read_bytes() == other.read_bytes()
            assert (path.parent == other.parent) == (row["reason"] == "duplicate")


def test_everything_else_decodes_and_is_unique(sample: tuple[Path, dict[str, Any]]) -> None:
    root, summary = sample
    bad = {row["path"] for row in [*summary["troubles"], *summary["archive_troubles"]]} | set(summary["not_images"])
    good = list(files(root / "images") + files(root / "archive"))
    good = [path for path in good if path.relative_to(root).as_posix() not in bad]
    assert len(good) == summary["counts"]["good"] + summary["counts"]["archive_good"]
    assert len({path.read_bytes() for path in good}) == len(good)
    for path in good:
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert min(image.size) >= 96
            assert max(image.size) <= 200
            image.load()


def test_oriented_photograph_is_upright_after_exif(sample: tuple[Path, dict[str, Any]]) -> None:
    root, summary = sample
    (path,) = summary["oriented"]
    upright = photograph("nevus", [3, 2, ISIC9.index("nevus"), 0], 0)
    with Image.open(root / path) as stored:
        assert stored.getexif()[0x0112] == 6
        shown = ImageOps.exif_transpose(stored)
    assert shown.size == upright.size
    # JPEG loses a little; a picture turned the wrong way would be far off.
    assert np.abs(np.asarray(shown, float) - np.asarray(upright, float)).mean() < 4


def test_metadata_has_a_row_per_photograph(sample: tuple[Path, dict[str, Any]]) -> None:
    root, _ = sample
    with open(root / "metadata.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["isic_id", "lesion_id", "age_approx", "sex", "anatom_site_general"]
    ids = [row["isic_id"] for row in rows]
    stems = {path.stem for path in files(root / "images") if path.name != "README.txt" and "(1)" not in path.name}
    assert len(ids) == len(set(ids))
    assert set(ids) == stems
    photographs = Counter(row["lesion_id"] for row in rows if row["lesion_id"])
    assert {1, 2, 3} <= set(photographs.values())
    assert any(not row["lesion_id"] for row in rows)
    class_of = {path.stem: path.parent.name for path in files(root / "images") if "(1)" not in path.name}
    classes_of_lesion: dict[str, set[str]] = {}
    for row in rows:
        classes_of_lesion.setdefault(row["lesion_id"] or row["isic_id"], set()).add(class_of[row["isic_id"]])
    assert all(len(classes) == 1 for classes in classes_of_lesion.values())


def test_photographs_of_one_lesion_differ_but_less_than_lesions_do() -> None:
    def colour(lesion: Any, photo: Any) -> Any:
        pixels = np.asarray(photograph("seborrheic keratosis", [0, 1, lesion], photo), float)
        return pixels[pixels.shape[0] // 2 - 20 :][:40].mean(axis=(0, 1))

    pairs = [(colour(lesion, 0), colour(lesion, 1)) for lesion in range(12)]
    within = np.mean([np.abs(a - b).mean() for a, b in pairs])
    between = np.mean([np.abs(a - b).mean() for (a, _), (_, b) in itertools.pairwise(pairs)])
    assert 0 < within < between


def test_command_writes_then_refuses_then_overwrites(command: Command, tmp_path: Path) -> None:
    output = tmp_path / "sample"
    first = command("pipelines.demo.sample", "--output", str(output), "--seed", "5")
    assert (first.returncode, first.stderr) == (0, "")
    summary = json.loads((output / "sample.json").read_text(encoding="utf-8"))
    assert 300 <= summary["counts"]["good"] <= 360
    assert summary["counts"]["archive_files"] == 60
    before = digests(output)

    refused = command("pipelines.demo.sample", "--output", str(output))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "--overwrite" in refused.stderr
    assert str(output) in refused.stderr
    assert digests(output) == before

    (output / "dataset").mkdir()
    (output / "dataset" / "mine.txt").write_text("keep")
    write_sample(output, seed=6, scale=0.1)
    again = command("pipelines.demo.sample", "--output", str(output), "--seed", "5", "--overwrite")
    assert (again.returncode, again.stderr) == (0, "")
    after = digests(output)
    assert after.pop("dataset/mine.txt")
    assert after == before


def test_interrupted_run_is_repeated_without_overwrite(tmp_path: Path) -> None:
    output = tmp_path / "sample"
    summary = write_sample(output, seed=0, scale=0.1)
    whole = digests(output)
    # What a run that was stopped half-way leaves: its mark, some pictures, no summary.
    (output / "sample.json").unlink()
    (output / ".sample-in-progress").touch()
    (output / "images" / "nevus" / "ISIC_9900999.jpg").write_bytes(b"half")
    assert run(SampleOptions(output, seed=0, scale=0.1)) == summary
    assert digests(output) == whole


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--output", "OUT", "--overwrite"], "was not written by this program"),
        (["--output", "OUT"], "not empty"),
        (["--output", "OUT/theirs.txt"], "is a file"),
        (["--output", "OUT/new", "--seed", "-1"], "--seed -1"),
        (["--output", "OUT/new", "--seed", "x"], "--seed"),
        ([], "--output"),
    ],
)
def test_wrong_use_writes_nothing(command: Command, tmp_path: Path, arguments: list[str], says: str) -> None:
    (tmp_path / "theirs.txt").write_text("keep")
    result = command("pipelines.demo.sample", *[argument.replace("OUT", str(tmp_path)) for argument in arguments])
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert [path.name for path in files(tmp_path)] == ["theirs.txt"]


def test_help_names_the_options_and_exits_with_0(command: Command) -> None:
    result = command("pipelines.demo.sample", "--help")
    assert result.returncode == 0
    assert "--seed" in result.stdout
    assert result.stderr == ""
