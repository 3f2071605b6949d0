"""The prepare command on the sample archive: the promises, read back from what it wrote."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.support import lookalikes
from tests.support.commands import Command, besides_progress

ROOT = Path(__file__).resolve().parents[2]
SIZE = 48


def arguments(sample: Path, output: Path, *more: object) -> tuple[object, ...]:
    metadata = ("--metadata", sample / "metadata.csv")
    return (
        "pipelines.prepare",
        "--input",
        sample / "images",
        *metadata,
        "--output",
        output,
        "--image_size",
        SIZE,
        *more,
    )


@pytest.fixture(scope="module")
def finished(
    process: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A prepared dataset and how the command ended, as a process."""
    output = tmp_path_factory.mktemp("prepared") / "dataset"
    return output, process(*arguments(sample, output))


@pytest.fixture(scope="module")
def dataset(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    assert finished[1].returncode == 0, finished[1].stderr
    return finished[0]


@pytest.fixture(scope="module")
def folded(command: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same images in three folds."""
    output = tmp_path_factory.mktemp("folded") / "dataset"
    done = command(*arguments(sample, output, "--folds", 3))
    assert done.returncode == 0, done.stderr
    assert " shards in 3 folds\n" in done.stdout
    return output


def describe(dataset: Path) -> dict[str, Any]:
    return json.loads((dataset / "dataset.json").read_text())


def manifest(dataset: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(dataset.glob("manifest-*.parquet")) for row in pq.read_table(path).to_pylist()]


def rejects(dataset: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in dataset.glob("rejects-*.jsonl") for line in path.read_text().splitlines()]


def examples(dataset: Path, split: str) -> Iterator[dict[str, Any]]:
    """Every record of a split as {key: value}, in order; also checks TensorFlow's own CRCs."""
    import tensorflow as tf

    for shard in describe(dataset)["splits"][split]["shards"]:
        for record in tf.data.TFRecordDataset(str(dataset / shard["name"])).as_numpy_iterator():
            features = tf.train.Example.FromString(record).features.feature
            yield {
                key: (value.bytes_list.value[0] if value.HasField("bytes_list") else value.int64_list.value[0])
                for key, value in features.items()
            }


def digests(dataset: Path, pattern: str = "*.tfrecord") -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in dataset.glob(pattern)}


def test_exits_with_0_and_says_what_it_did(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    output, done = finished
    assert done.returncode == 0
    assert besides_progress(done.stderr) == []
    assert done.stderr.startswith("pipelines.prepare: reading ")
    counts = describe(output)["counts"]
    assert f"listed {counts['listed']} = written {counts['written']} + duplicates 1 + rejected 4" in done.stdout
    assert str(output) in done.stdout
    assert not (output / ".unfinished").exists()


def test_promise_1_no_lesion_no_content_in_two_splits_and_only_train_is_balanced(dataset: Path) -> None:
    splits_of = defaultdict(set)
    for split in ("train", "validation", "test"):
        per_class: Counter[bytes] = Counter()
        for example in examples(dataset, split):
            for key in ("image/key/sha256", "image/group_id", "image/lesion_id"):
                if example[key]:
                    splits_of[key, example[key]].add(split)
            per_class[example["image/class/text"]] += 1
            assert example["image/augmentation/copy"] == 0 or split == "train"
        assert len(per_class) == 9
        assert (len(set(per_class.values())) == 1) == (split == "train")
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert any(key == "image/lesion_id" for key, _ in splits_of)


def test_photographs_of_one_lesion_are_together_and_there_are_such(dataset: Path) -> None:
    lesions = defaultdict(set)
    for row in manifest(dataset):
        if row["outcome"] == "written" and row["lesion_id"]:
            lesions[row["lesion_id"]].add((row["split"], row["sha256"]))
    several = [photographs for photographs in lesions.values() if len(photographs) > 1]
    assert len(several) > 5
    assert all(len({split for split, _ in photographs}) == 1 for photographs in several)


def test_promise_2_every_file_is_accounted_for(dataset: Path, sample: Path) -> None:
    description, rows = describe(dataset), manifest(dataset)
    listed = {str(path) for path in (sample / "images").rglob("*") if path.suffix in (".jpg", ".png")}
    assert [row["path"] for row in rows] == sorted({row["path"] for row in rows})
    assert {row["path"] for row in rows} == listed
    outcomes = Counter(row["outcome"] for row in rows)
    counts = description["counts"]
    assert counts == {
        "listed": len(listed) + 1,
        "ignored": 1,
        "written": outcomes["written"],
        "duplicates": outcomes["duplicate"],
        "rejected": outcomes["rejected"],
        "undersampled": 0,
        "with_lesion_id": sum(1 for row in rows if row["outcome"] == "written" and row["lesion_id"]),
    }
    ignored = [{"kind": ".txt", "files": 1, "first": ["README.txt"]}]
    assert description["beside"] == {"ignored": ignored, "passed_over": []}
    refused = rejects(dataset)
    assert len(refused) == len(listed) - counts["written"]
    assert Counter(line["reason"] for line in refused) == description["dropped"]
    for split, entry in description["splits"].items():
        written = list(examples(dataset, split))
        assert len(written) == entry["examples"] == sum(row["copies"] for row in rows if row["split"] == split)
        assert Counter(example["image/key/sha256"].decode() for example in written) == {
            row["sha256"]: row["copies"] for row in rows if row["split"] == split
        }


def test_the_deliberate_troubles_are_each_named(dataset: Path, sample: Path) -> None:
    found = {line["path"]: line for line in rejects(dataset)}
    troubles = json.loads((sample / "sample.json").read_text())["troubles"]
    images = [trouble for trouble in troubles if trouble["path"].startswith("images/")]
    assert {trouble["reason"] for trouble in images} == {"undecodable", "not_an_image", "duplicate", "label_conflict"}
    expected = {str(sample / trouble["path"]): trouble["reason"] for trouble in images}
    assert {path: line["reason"] for path, line in found.items()} == expected
    assert all(line["stage"] and line["message"] for line in found.values())


def test_promise_3_same_bytes_again_elsewhere_and_with_other_threads(
    command: Command, sample: Path, dataset: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "another place" / "sample"
    shutil.copytree(sample, copy)
    output = tmp_path / "out"
    done = command(*arguments(copy, output, "--threads", "3"))
    assert done.returncode == 0, done.stderr
    assert digests(output) == digests(dataset)
    assert (output / "dataset.json").read_text() == (dataset / "dataset.json").read_text()


@pytest.mark.proof
def test_promise_3_same_bytes_in_another_order_and_with_other_processes(
    process: Command, sample: Path, folded: Path, tmp_path: Path
) -> None:
    paths = [str(path) for path in (sample / "images").rglob("*") if path.suffix in (".jpg", ".png")]
    (tmp_path / "list.txt").write_text("\n".join(random.Random(1).sample(paths, len(paths))))
    output = tmp_path / "out"
    done = process(
        *("pipelines.prepare", "--input", tmp_path / "list.txt", "--metadata", sample / "metadata.csv"),
        *("--output", output, "--image_size", SIZE, "--folds", 3),
        *("--direct_running_mode", "multi_processing", "--direct_num_workers", 3),
    )
    assert done.returncode == 0, done.stderr
    for pattern in ("*.tfrecord", "known-*"):
        assert digests(output, pattern) == digests(folded, pattern)
    # A list is another source than a folder, and messages name files from there.
    rows, expected = ([{**row, "source": ""} for row in manifest(made)] for made in (output, folded))
    assert rows == expected
    refused, expected = ([{**line, "message": ""} for line in rejects(made)] for made in (output, folded))
    assert refused == expected
    # A list names images alone.
    counts = describe(folded)["counts"]
    counts = {**counts, "listed": counts["listed"] - counts["ignored"], "ignored": 0}
    beside: dict[str, list] = {"ignored": [], "passed_over": []}
    assert describe(output) == {**describe(folded), "counts": counts, "beside": beside}


def test_folds_hold_lesions_whole_and_every_class_and_are_balanced(folded: Path, dataset: Path) -> None:
    description, splits = describe(folded), describe(folded)["splits"]
    assert description["options"]["folds"] == 3
    assert description["options"]["split_fractions"] == [0.9, 0, 0.1]
    assert splits["validation"]["originals"] == 0 < splits["test"]["originals"]
    folds = splits["train"]["folds"]
    assert [name for fold in folds for name in fold["shards"]] == [shard["name"] for shard in splits["train"]["shards"]]
    folds_of: defaultdict[tuple[str, bytes], set[int]] = defaultdict(set)
    per_class: Counter[tuple[int, str]] = Counter()
    originals: Counter[tuple[int, str]] = Counter()
    for example in examples(folded, "train"):
        fold = example["image/fold"]
        for key in ("image/key/sha256", "image/group_id", "image/lesion_id"):
            if example[key]:
                folds_of[key, example[key]].add(fold)
        per_class[fold, example["image/class/text"].decode()] += 1
        originals[fold, example["image/class/text"].decode()] += example["image/augmentation/copy"] == 0
    assert all(len(found) == 1 for found in folds_of.values())
    assert len(per_class) == 3 * 9
    assert set(per_class.values()) == {max(originals.values())}
    for number, fold in enumerate(folds):
        assert fold["fold"] == number
        assert fold["per_class"] == {
            name: {"originals": originals[number, name], "examples": per_class[number, name]}
            for name in description["classes"]
        }
        assert fold["examples"] == sum(entry["examples"] for entry in fold["per_class"].values())
        assert fold["originals"] == sum(entry["originals"] for entry in fold["per_class"].values())
    assert {example["image/fold"] for example in examples(folded, "test")} == {-1}
    assert all((row["fold"] is None) == (row["split"] != "train") for row in manifest(folded))
    assert Counter(row["fold"] for row in manifest(folded) if row["split"] == "train") == {
        fold["fold"]: fold["originals"] for fold in folds
    }
    assert {row["fold"] for row in manifest(dataset)} == {None}
    assert describe(dataset)["splits"]["train"]["folds"] == []


def test_a_dataset_without_validation_images_cannot_be_trained_on_and_says_so(
    command: Command, folded: Path, tmp_path: Path
) -> None:
    done = command("trainer.task", "--dataset", folded, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr == (
        f"trainer.task: error: the validation split of {folded} is empty: use one of its 3 folds with --fold 0 "
        "to --fold 2\n"
    )
    assert not (tmp_path / "out").exists()


def test_transform_graph_normalises_the_train_originals(dataset: Path) -> None:
    import tensorflow as tf

    transform = tf.saved_model.load(str(dataset / "transform_fn")).transform_fn
    train = [example for example in examples(dataset, "train") if example["image/augmentation/copy"] == 0]
    count = len(train)
    outputs = transform(
        {
            "image/encoded": tf.constant([example["image/encoded"] for example in train]),
            "image/class/text": tf.constant([example["image/class/text"] for example in train]),
            "image/statistics": tf.zeros([count, 7], tf.int64),
        }
    )
    assert outputs["image"].shape == (count, SIZE, SIZE, 3)
    assert outputs["label"].numpy().tolist() == [example["image/class/label"] for example in train]
    # Records went through JPEG after their sums were taken: a small fraction of a grey level.
    np.testing.assert_allclose(np.mean(outputs["image"], axis=(0, 1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(np.std(outputs["image"], axis=(0, 1, 2)), 1, atol=0.02)
    counts = (dataset / "transform_fn" / "assets" / "class_counts").read_text().splitlines()
    assert {line.split(" ", 1)[1]: int(line.split(" ", 1)[0]) for line in counts} == Counter(
        example["image/class/text"].decode() for example in train
    )


def test_finished_dataset_is_kept_unless_told_otherwise(
    command: Command, process: Command, sample: Path, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "dataset"
    shutil.copytree(dataset, output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    refused = process(*arguments(sample, output))
    assert refused.returncode == 2
    assert "--overwrite" in refused.stderr
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    (output / "notes.txt").write_text("mine")
    replaced = command(*arguments(sample, output, "--overwrite", "--seed", 1, "--balance", "undersample"))
    assert replaced.returncode == 0, replaced.stderr
    assert (output / "notes.txt").read_text() == "mine"
    description = describe(output)
    assert description["fingerprint"] != describe(dataset)["fingerprint"]
    assert {path.name for path in output.glob("*.tfrecord")} == {
        shard["name"] for split in description["splits"].values() for shard in split["shards"]
    }
    train = description["splits"]["train"]["per_class"]
    assert len({entry["examples"] for entry in train.values()}) == 1
    assert description["counts"]["undersampled"] == description["dropped"]["undersampled"] > 0


def test_too_many_rejects_is_exit_1_with_everything_good_written(
    command: Command, sample: Path, dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "dataset"
    done = command(*arguments(sample, output, "--max_reject_fraction", "0.001"))
    assert done.returncode == 1
    assert len(besides_progress(done.stderr)) == 1
    assert "--max_reject_fraction 0.001" in done.stderr
    assert digests(output) == digests(dataset)


@pytest.mark.parametrize(("more", "loser"), [((), "Test"), (("--on_leakage", "remove_from_train"), "Train")])
def test_split_from_folders_leaves_what_halves_share_in_one(
    command: Command, sample: Path, tmp_path: Path, more: tuple[str, ...], loser: str
) -> None:
    """Train and Test halves that share lesions, and one file: what they share leaves one of them."""
    rows = {line.split(",")[0]: line.split(",")[1] for line in (sample / "metadata.csv").read_text().splitlines()[1:]}
    source = tmp_path / "source"
    seen: Counter = Counter()
    for path in sorted((sample / "images").rglob("ISIC_*")):
        label = path.parent.name
        seen[label] += 1
        target = source / ("Test" if seen[label] % 3 == 0 else "Train") / label / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    keeper = "Train" if loser == "Test" else "Test"
    twice = min((source / keeper / "nevus").glob("*.jpg"))
    (source / loser / "nevus" / "copy.jpg").write_bytes(twice.read_bytes())
    output = tmp_path / "dataset"
    done = command(
        *("pipelines.prepare", "--input", source, "--metadata", sample / "metadata.csv", "--output", output),
        *("--image_size", SIZE, "--split_from_folders", "--balance", "none", "--max_reject_fraction", 1, *more),
    )
    assert done.returncode == 0, done.stderr
    lesions = defaultdict(set)
    for row in manifest(output):
        if row["outcome"] == "written":
            lesions[rows[row["id"]] or row["id"]].add(row["split"])
            assert ("/Test/" in row["path"]) == (row["split"] == "test")
    assert all(len(splits) == 1 for splits in lesions.values())
    left = [line["path"] for line in rejects(output) if line["reason"] == "leakage"]
    assert len(left) == describe(output)["dropped"]["leakage"] > 0
    assert all(f"/{loser}/" in path for path in left)
    copies = {row["path"]: row["outcome"] for row in manifest(output)}
    assert copies[str(twice)] == "written"
    assert copies[str(source / loser / "nevus" / "copy.jpg")] == "duplicate"
    train = describe(output)["splits"]["train"]
    assert train["examples"] == train["originals"]


def archive(folder: Path, **per_class: int) -> Path:
    """Class folders with that many tiny PNGs, no two alike."""
    from PIL import Image

    for label, count in per_class.items():
        (folder / label).mkdir(parents=True)
        for n in range(count):
            pixels = np.random.default_rng([n, *label.encode()]).integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{label}{n}.png")
    return folder


def test_names_that_are_not_utf_8_and_broken_links_have_their_row(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=5, nevus=5)
    os.rename(source / "nevus" / "nevus0.png", os.fsencode(source / "nevus") + b"/odd\xff\xfe.png")
    os.symlink("nowhere", source / "nevus" / "dangling.jpg")
    os.mkfifo(source / "nevus" / "pipe.png")
    done = command(
        *("pipelines.prepare", "--input", source, "--output", tmp_path / "out", "--image_size", 16),
        *("--classes", "melanoma,nevus"),
    )
    assert done.returncode == 0, done.stderr
    assert {Path(line["path"]).name: line["reason"] for line in rejects(tmp_path / "out")} == {
        "dangling.jpg": "unreadable",
        "pipe.png": "unreadable",
    }
    assert any(row["path"].endswith("odd\\xff\\xfe.png") for row in manifest(tmp_path / "out"))


def test_a_copy_of_another_size_shares_the_split_of_its_original(
    command: Command, sample: Path, tmp_path: Path
) -> None:
    """No id, no lesion, other bytes: only the picture says that it is one photograph."""
    from PIL import Image

    source = tmp_path / "in"
    for number, path in enumerate(sorted((sample / "images").rglob("ISIC_*.jpg"))[:60]):
        target = source / path.parent.name / f"original {number}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    copies = 0
    for path in sorted(source.rglob("*.jpg"))[::3]:
        try:
            with Image.open(path) as picture:
                picture.convert("RGB").resize((90, 80)).save(path.with_name(path.name.replace("original", "copy")))
        except OSError:
            continue
        copies += 1
    done = command(
        *("pipelines.prepare", "--input", source, "--output", tmp_path / "out", "--image_size", 16),
        *("--small_classes", "reject", "--max_reject_fraction", 1, "--split_fractions", "0.5,0.25,0.25"),
    )
    assert done.returncode == 0, done.stderr
    rows = {Path(row["path"]).stem: row for row in manifest(tmp_path / "out") if row["outcome"] == "written"}
    pairs = [(rows[name], rows[name.replace("copy", "original")]) for name in rows if name.startswith("copy")]
    together = [one["group_id"] == other["group_id"] for one, other in pairs]
    assert len(pairs) > copies / 3
    assert sum(together) >= 0.9 * len(together)
    assert all(one["split"] == other["split"] for one, other in pairs if one["group_id"] == other["group_id"])
    assert describe(tmp_path / "out")["near_duplicates"]["pairs"] >= sum(together)


def test_near_duplicates_do_not_depend_on_the_size_of_records(command: Command, tmp_path: Path) -> None:
    """Photographs so large that records of 300 pixels are made at another scale than those of 64."""
    for seed in range(24):
        folder = tmp_path / "in" / ("melanoma", "nevus")[seed % 2]
        folder.mkdir(parents=True, exist_ok=True)
        photograph = lookalikes.photograph(seed, 900, 1200)
        photograph.save(folder / f"{seed}.jpg", quality=90)
        if seed < 10:
            copy = list(lookalikes.COPIES.values())[seed % 5](photograph)
            copy.save(folder / f"{seed} copy.jpg", quality=70)
    found = []
    for size in (64, 300):
        output = tmp_path / str(size)
        done = command(
            *("pipelines.prepare", "--input", tmp_path / "in", "--output", output, "--image_size", size),
            *("--split_fractions", "0.5,0.25,0.25", "--balance", "none", "--small_classes", "reject"),
        )
        assert done.returncode == 0, done.stderr
        places = {row["path"]: (row["outcome"], row["group_id"], row["split"]) for row in manifest(output)}
        found.append((describe(output)["near_duplicates"], places))
    assert found[0] == found[1]
    assert found[0][0]["pairs"] >= 8


def test_one_file_under_two_spellings_comes_once(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=5, nevus=5)
    done = command(
        *("pipelines.prepare", "--input", source, "--input", f"{source}/../in/", "--output", tmp_path / "out"),
        *("--image_size", 16, "--classes", "melanoma,nevus"),
    )
    assert done.returncode == 0, done.stderr
    assert describe(tmp_path / "out")["counts"]["listed"] == 10


def test_ids_with_dots_find_their_lesion(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=9, nevus=9)
    ids = []
    for number, path in enumerate(sorted(source.rglob("*.png"))):
        path.rename(path.with_name(f"case.{number}.v2.png"))
        ids.append(f"case.{number}.v2,L{number // 3}")
    (tmp_path / "m.csv").write_text("\n".join(["image_id,lesion_id", *ids]))
    done = command(
        *("pipelines.prepare", "--input", source, "--metadata", tmp_path / "m.csv", "--output", tmp_path / "out"),
        *("--image_size", 16, "--classes", "melanoma,nevus"),
    )
    assert done.returncode == 0, done.stderr
    assert "lesion ids: of 18 of 18 images" in done.stdout
    splits = defaultdict(set)
    for row in manifest(tmp_path / "out"):
        splits[row["lesion_id"]].add(row["split"])
    assert len(splits) == 6
    assert all(len(found) == 1 for found in splits.values())


def test_a_table_that_knows_no_image_is_refused(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=5, nevus=5)
    (tmp_path / "m.csv").write_text("image_id,lesion_id\nother,L1\n")
    done = command(
        *(
            "pipelines.prepare",
            "--input",
            source,
            "--metadata",
            tmp_path / "m.csv",
            "--output",
            tmp_path / "out" / "deep",
        ),
        *("--classes", "melanoma,nevus"),
    )
    assert done.returncode == 2
    assert len(besides_progress(done.stderr)) == 1
    assert "m.csv: knows none of the images" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_splits_file_and_a_trusted_table_decide(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=8, nevus=8)
    (tmp_path / "splits.csv").write_text("image,split\nnevus0,test\nmelanoma3,Train\n")
    (tmp_path / "dx.csv").write_text("image_id,dx\nnevus1,mel\n")
    prepare = (
        *("pipelines.prepare", "--input", source, "--output", tmp_path / "out", "--image_size", 16),
        *("--classes", "melanoma,nevus", "--splits_file", tmp_path / "splits.csv", "--metadata", tmp_path / "dx.csv"),
    )
    done = command(*prepare, "--on_label_conflict", "trust=dx.csv")
    assert done.returncode == 0, done.stderr
    rows = {row["id"]: row for row in manifest(tmp_path / "out")}
    assert (rows["nevus0"]["split"], rows["melanoma3"]["split"], rows["nevus1"]["label"]) == (
        "test",
        "train",
        "melanoma",
    )
    done = command(*prepare, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert [(line["reason"], line["message"].split(":")[0]) for line in rejects(tmp_path / "out")] == [
        ("label_conflict", "filed as 'mel' (dx.csv), 'nevus' (folder)")
    ]
    (tmp_path / "splits.csv").write_text("image,split\nabsent,test\n")
    done = command(*prepare, "--overwrite")
    assert done.returncode == 2
    assert "splits.csv: image 'absent' is not among the images" in done.stderr
    assert describe(tmp_path / "out")["counts"]["rejected"] == 1


def test_archives_and_lists_give_the_bytes_of_the_folder(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=6, nevus=6)
    (source / "LICENSE.txt").write_text("CC-0")
    shutil.make_archive(str(tmp_path / "images"), "zip", tmp_path, "in")
    shutil.make_archive(str(tmp_path / "images"), "tar", tmp_path, "in")
    (tmp_path / "list.txt").write_text("".join(f"{path.relative_to(tmp_path)}\n" for path in source.rglob("*.png")))
    found = []
    for name in ("in", "images.zip", "images.tar", "list.txt"):
        done = command(
            *("pipelines.prepare", "--input", tmp_path / name, "--output", tmp_path / f"out {name}"),
            *("--image_size", 16, "--classes", "melanoma,nevus"),
        )
        assert done.returncode == 0, done.stderr
        found.append(digests(tmp_path / f"out {name}"))
        assert describe(tmp_path / f"out {name}")["counts"]["ignored"] == (0 if name == "list.txt" else 1)
    assert all(one == found[0] for one in found)


def test_our_failure_is_neither_0_nor_1_nor_2(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=5, nevus=5)
    script = (
        "import pipelines.prepare.pipeline as p\n"
        "from pipelines.common.cli import run_command\n"
        "from pipelines.prepare.command import main\n"
        "def broken(*a): raise MemoryError('no')\n"
        "p.build = broken\n"
        f"run_command('prepare', main, ['--input', {str(source)!r}, '--output', {str(tmp_path / 'out')!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 3
    assert "MemoryError" in done.stderr


def test_a_class_too_small_to_split_is_refused_or_rejected(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=6, nevus=9, tiny=2)
    prepare = ("pipelines.prepare", "--input", source, "--output", tmp_path / "out", "--classes", "melanoma,nevus,tiny")
    refused = command(*prepare)
    assert refused.returncode == 2
    assert len(besides_progress(refused.stderr)) == 1
    assert "--split_fractions 0.8,0.1,0.1 leaves class 'tiny' (2 usable images) without" in refused.stderr
    assert not (tmp_path / "out").exists()
    refused = command(*prepare, "--folds", 3)
    assert refused.returncode == 2
    assert len(besides_progress(refused.stderr)) == 1
    assert "--folds 3 leaves class 'tiny' (2 usable images) without an image in fold 1; add" in refused.stderr
    assert not (tmp_path / "out").exists()
    done = command(*prepare, "--image_size", 16, "--small_classes", "reject", "--folds", 3)
    assert done.returncode == 0, done.stderr
    assert describe(tmp_path / "out")["classes"] == ["melanoma", "nevus", "tiny"]
    assert describe(tmp_path / "out")["dropped"] == {"class_too_small": 2}


def test_labels_that_are_no_class_are_rejected_by_name(command: Command, tmp_path: Path) -> None:
    source = archive(tmp_path / "in", melanoma=6, nevus=9, odd=2)
    done = command(
        *("pipelines.prepare", "--input", source, "--output", tmp_path / "out", "--image_size", 16),
        *("--classes", "melanoma,nevus", "--split_fractions", "0.7,0.3,0"),
    )
    assert done.returncode == 0, done.stderr
    assert {line["reason"] for line in rejects(tmp_path / "out")} == {"unmapped_label"}
    assert all("no class for 'odd' (folder)" in line["message"] for line in rejects(tmp_path / "out"))
    assert describe(tmp_path / "out")["splits"]["test"]["shards"] == []


BAD = {
    "missing input": (["--input", "{tmp}/missing"], "--input {tmp}/missing: no such file or folder"),
    "empty input": (["--input", "{tmp}/empty"], "--input {tmp}/empty: holds no image"),
    "no input": (["--output", "{tmp}/x"], "--input"),
    "unknown option": (["--imagesize", "64"], "--imagesize"),
    "unknown balance": (["--balance", "smote"], "--balance"),
    "unknown classes": (["--classes", "isic99"], "--classes 'isic99'"),
    "no class there": (
        ["--classes", "cat,dog", "--metadata", "{images}/../metadata.csv"],
        "--classes 'cat,dog': no usable image",
    ),
    "fractions": (["--split_fractions", "0.8,0.3,0.1"], "--split_fractions '0.8,0.3,0.1': they add up to 1.2"),
    "two fractions": (["--split_fractions", "0.8,0.2"], "--split_fractions"),
    "no train": (["--split_fractions", "0,0.5,0.5"], "train fraction is 0"),
    "one fold": (["--folds", "1"], "--folds 1: a number from 2 to 100 is needed, or 0"),
    "101 folds": (["--folds", "101"], "--folds 101"),
    "folds no number": (["--folds", "many"], "--folds"),
    "fewer than folds": (["--folds", "5", "--target_per_class", "4"], "--target_per_class 4: --folds 5 need"),
    "leaks": (["--on_leakage", "keep"], "--on_leakage"),
    "target not ascii": (["--target_per_class", "²"], "--target_per_class '²'"),
    "glob in output": (["--output", "{tmp}/o[1]*"], "must not contain"),
    "unknown runner": (["--runner", "Foo"], "--runner Foo"),
    "dataflow without a place": (["--runner", "DataflowRunner"], "--runner DataflowRunner"),
    "trust whom": (["--on_label_conflict", "trust=nobody.csv"], "there are folder"),
    "compressed tar": (["--input", "{tmp}/x.tar.gz"], "--input {tmp}/x.tar.gz"),
    "splits file": (["--splits_file", "{tmp}/bad.csv"], "--splits_file {tmp}/bad.csv"),
    "target": (["--target_per_class", "many"], "--target_per_class 'many'"),
    "target beyond reason": (["--target_per_class", "1000001"], "a number from 1 to 1000000, max, mean or min"),
    "target without balance": (["--balance", "none", "--target_per_class", "5"], "--balance none"),
    "size": (["--image_size", "0"], "--image_size 0"),
    "unknown encoding": (["--encoding", "webp"], "--encoding"),
    "no shard size": (["--shard_mb", "0"], "--shard_mb 0: a number of MiB from 1 to 1024 is needed"),
    "size no number": (["--image_size", "big"], "--image_size"),
    "reject fraction": (["--max_reject_fraction", "2"], "--max_reject_fraction 2"),
    "metadata missing": (["--metadata", "{tmp}/none.csv"], "--metadata {tmp}/none.csv"),
    "metadata column": (["--metadata", "{tmp}/bad.csv"], "has no lesion_id, label or licence column"),
    "foreign output": (["--output", "{tmp}/foreign"], "--output {tmp}/foreign: is not empty"),
    "output is input": (["--output", "{images}"], "also an input"),
    "unwritable output": (["--output", "{tmp}/bad.csv/below"], "--output {tmp}/bad.csv/below"),
    "multi_threading": (["--direct_running_mode", "multi_threading"], "loses records"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_use_is_one_line_exit_2_and_nothing_written(
    command: Command, sample: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    (tmp_path / "x.tar.gz").write_bytes(b"")
    (tmp_path / "bad.csv").write_text("isic_id,lesion\na,b\n")
    places = {"tmp": tmp_path, "images": sample / "images"}
    more, says = [text.format(**places) for text in BAD[name][0]], BAD[name][1].format(**places)
    given = [] if name == "no input" else ["--input", sample / "images"] if "--input" not in more else []
    given += [] if "--output" in more else ["--output", tmp_path / "out"]
    before = sorted(tmp_path.rglob("*"))
    done = command("pipelines.prepare", *given, *more)
    assert done.returncode == 2, done.stderr
    (error,) = besides_progress(done.stderr)
    assert error.startswith("pipelines.prepare: error: ")
    assert says in error
    assert done.stdout == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_help_tells_a_newcomer(command: Command) -> None:
    done = command("pipelines.prepare", "--help")
    assert done.returncode == 0
    for word in ("--input", "--metadata", "(default: 180)", "(default: isic9)", "example:", "exit codes"):
        assert word in done.stdout
