"""The show command and the dataset card on the sample archive: compared with records as TensorFlow reads them."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.common.cli import UsageError
from pipelines.common.seeding import stable_hash
from pipelines.dataset.tfrecord import frame, read_records
from pipelines.imaging.previews import small_jpeg
from pipelines.show import command as show_command
from tests.support.browser import dump_dom, parse
from tests.support.commands import Command, besides_progress
from tests.support.startup import started

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "病<img src=x onerror=alert(1)>\n\x1b[31m'it'"


@pytest.fixture(scope="module")
def dataset(command: Command, sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample and an image with a hostile name, in two folds."""
    root = tmp_path_factory.mktemp("show")
    shutil.copytree(sample / "images", root / "images")
    nevus = next(path for path in (root / "images").rglob("nevus") if path.is_dir())
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)
    Image.fromarray(noise).save(nevus / f"{HOSTILE}.png")
    done = command(
        *("pipelines.prepare", "--input", root / "images", "--metadata", sample / "metadata.csv", "--folds", 2),
        *("--output", root / "dataset", "--image_size", 40, "--overwrite", "--threads", 2),
    )
    assert done.returncode == 0, done.stderr
    return root / "dataset"


@pytest.fixture(scope="module")
def rows(dataset: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(dataset.glob("manifest-*")) for row in pq.read_table(path).to_pylist()]


@pytest.fixture(scope="module")
def records(dataset: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Of each hash: its records as (copy, shard, position, stored file, pixels), as TensorFlow reads them."""
    import tensorflow as tf

    found = defaultdict(list)
    for path in sorted(dataset.glob("*.tfrecord")):
        for position, data in enumerate(tf.data.TFRecordDataset(str(path)).as_numpy_iterator()):
            features = tf.train.Example.FromString(data).features.feature
            encoded = features["image/encoded"].bytes_list.value[0]
            pixels = tf.io.decode_jpeg(encoded, dct_method="INTEGER_ACCURATE").numpy()
            copy = features["image/augmentation/copy"].int64_list.value[0]
            sha256 = features["image/key/sha256"].bytes_list.value[0].decode()
            found[sha256].append((copy, path.name, position, encoded, pixels))
    return {sha256: sorted(shots, key=lambda shot: shot[0]) for sha256, shots in found.items()}


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    show_command.main(list(map(str, arguments)))
    return capsys.readouterr().out


def places(sheet: np.ndarray, pixels: np.ndarray) -> list[tuple[int, int]]:
    """Where a sheet has exactly these pixels: (row, column)."""
    height, width = pixels.shape[:2]
    starts = np.argwhere((sheet[: 1 - height, : 1 - width] == pixels[0, 0]).all(axis=2))
    return [(int(y), int(x)) for y, x in starts if np.array_equal(sheet[y : y + height, x : x + width], pixels)]


def expected(rows: list[dict[str, Any]], seed: int, count: int, **where: Any) -> list[dict[str, Any]]:
    """The ids that a sheet shows."""
    wanted = [row for row in rows if row["outcome"] == "written" and where.items() <= row.items()]
    return sorted(wanted, key=lambda row: stable_hash(seed, "show", row["id"]))[:count]


def test_the_sheet_has_the_pixels_of_the_records_and_of_no_others(
    process: Command,
    dataset: Path,
    rows: list[dict[str, Any]],
    records: dict[str, list[tuple[Any, ...]]],
    tmp_path: Path,
) -> None:
    done = process("pipelines.show", dataset, "--output", tmp_path / "s.png", "--split", "train", "-n", 9, "--seed", 3)
    assert (done.returncode, besides_progress(done.stderr)) == (0, [])
    train = [row for row in rows if row["split"] == "train"]
    chosen = expected(rows, 3, 9, split="train")
    copies = sum(min(row["copies"], 6) - 1 for row in chosen)
    assert done.stdout.splitlines() == [
        f"9 of {len(train)} images (train) with {copies} copies; read "
        + ", ".join(re.findall(r"\d of \d+ shards of train fold \d", done.stdout)),
        f"wrote {tmp_path / 's.png'}",
    ]
    assert copies > 3
    sheet = np.asarray(Image.open(tmp_path / "s.png"))
    for row in chosen:
        shots = records[row["sha256"]]
        found = [places(sheet, pixels) for *_, pixels in shots[:6]]
        assert [len(one) for one in found] == [1] * min(row["copies"], 6)
        # The original first, its copies beside it.
        assert found == sorted(found)
        assert len({one[0][0] for one in found}) == 1
    others = [row for row in train if row not in chosen]
    assert not any(places(sheet, records[row["sha256"]][0][-1]) for row in others[:20])


def test_what_is_chosen_depends_on_no_order(capsys: pytest.CaptureFixture[str], dataset: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned"
    shutil.copytree(dataset, turned)
    for path in turned.glob("*.tfrecord"):
        frames = [data for _, data in read_records(io.BytesIO(path.read_bytes()))]
        path.write_bytes(b"".join(map(frame, reversed(frames))))
    for path in turned.glob("manifest-*"):
        table = pq.read_table(path)
        pq.write_table(table.take(pa.array(range(len(table) - 1, -1, -1))), path)
    assert any((turned / path.name).read_bytes() != path.read_bytes() for path in dataset.glob("train-*"))
    for name, place in (("one", dataset), ("other", turned)):
        run(capsys, place, "--output", tmp_path / f"{name}.png", "--class", "nevus", "-n", 5)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "other.png").read_bytes()
    run(capsys, dataset, "--output", tmp_path / "seed.png", "--class", "nevus", "-n", 5, "--seed", 1)
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "seed.png").read_bytes()


def test_one_image_all_its_copies_and_where_they_are(
    capsys: pytest.CaptureFixture[str],
    dataset: Path,
    rows: list[dict[str, Any]],
    records: dict[str, list[tuple[Any, ...]]],
    tmp_path: Path,
) -> None:
    row = max((row for row in rows if row["outcome"] == "written"), key=lambda row: (row["copies"], row["id"]))
    said = run(capsys, dataset, "--output", tmp_path / "i.png", "--id", row["id"])
    shots = records[row["sha256"]]
    sheet = np.asarray(Image.open(tmp_path / "i.png"))
    assert len(shots) == row["copies"] > 3
    assert [len(places(sheet, shot[-1])) for shot in shots] == [1] * len(shots)
    (shard,) = {shot[1] for shot in shots}
    facts = dict(re.findall(r"^  (.{13}) (.*)$", said, re.MULTILINE))
    facts = {name.strip(): value for name, value in facts.items()}
    places_said = ", ".join(str(shot[2]) for shot in shots[1:])
    assert facts["original"] == f"record {shots[0][2]} of {shard}"
    assert facts[f"copies 1 to {len(shots) - 1}"] == f"records {places_said} of {shard}"
    label = json.loads((dataset / "dataset.json").read_text())["classes"].index(row["label"])
    assert (facts["class"], facts["fold"]) == (f"{row['label']} (label {label})", str(row["fold"]))
    for name, column in (("outcome", "outcome"), ("split", "split"), ("group", "group_id"), ("file", "path")):
        assert facts[name] == row[column]
    # Only shards of its own fold are read, and a beginning of its hash is a name as well.
    assert re.search(rf"; read \d of \d+ shards of train fold {row['fold']}\n", said)
    assert run(capsys, dataset, "--id", row["sha256"][:10]) == said.replace(f"wrote {tmp_path / 'i.png'}\n", "")


def test_files_that_became_no_record_say_why(
    capsys: pytest.CaptureFixture[str], dataset: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    conflict = next(row for row in rows if row["reason"] == "label_conflict")
    said = run(capsys, dataset, "--id", conflict["id"], "--output", tmp_path / "c.png")
    assert "outcome       rejected (label_conflict)\n" in said
    assert f"file          {conflict['path']}\n" in said
    assert "it is in no shard" in said
    assert Image.open(tmp_path / "c.png").width > 100
    copied = next(row for row in rows if row["outcome"] == "duplicate")
    kept = next(row for row in rows if row["sha256"] == copied["sha256"] and row["outcome"] == "written")
    said = run(capsys, dataset, "--id", copied["id"])
    assert f"file          {kept['path']}\n" in said
    assert f"file          {copied['path']}\n" in said
    assert said.index("outcome       written\n") < said.index("outcome       duplicate (duplicate)\n")
    assert re.search(rf"record \d+ of {kept['split']}-", said)
    broken = next(row for row in rows if row["reason"] == "undecodable")
    assert "outcome       rejected (undecodable)\n" in run(capsys, dataset, "--id", broken["id"])


def test_a_page_has_the_stored_files_and_hostile_names_do_nothing(
    capsys: pytest.CaptureFixture[str],
    dataset: Path,
    rows: list[dict[str, Any]],
    records: dict[str, list[tuple[Any, ...]]],
    tmp_path: Path,
) -> None:
    said = run(capsys, dataset, "--id", HOSTILE, "--output", tmp_path / "h.html")
    run(capsys, dataset, "--id", HOSTILE, "--output", tmp_path / "h.jpg")
    assert Image.open(tmp_path / "h.jpg").format == "JPEG"
    assert "\x1b" not in said
    tree = parse(dump_dom(tmp_path / "h.html"))
    assert HOSTILE in {name.text() for name in tree.find("bdi")}
    sha256 = next(row["sha256"] for row in rows if row["id"] == HOSTILE)
    shown = [base64.b64decode(image.attributes["src"].split(",")[1]) for image in tree.find("img")]
    assert shown == [shot[3] for shot in records[sha256]]


BAD = {
    "no dataset": (["{tmp}/d.png", "--output", "{tmp}/a.png"], "{tmp}/d.png: holds no dataset.json"),
    "class": (["{dataset}", "--output", "{tmp}/a.png", "--class", "cat"], "--class cat: no such class; there are act"),
    "split": (["{dataset}", "--output", "{tmp}/a.png", "--split", "trian"], "--split trian: train, validation or"),
    "empty": (["{dataset}", "--output", "{tmp}/a.png", "--split", "validation"], "holds no image of validation"),
    "none": (["{dataset}", "--output", "{tmp}/a.png", "-n", "0"], "-n 0: a number from 1 to 1000"),
    "many": (["{dataset}", "--output", "{tmp}/a.png", "-n", "1001"], "-n 1001: a number from 1"),
    "extension": (["{dataset}", "--output", "{tmp}/a.gif"], "--output {tmp}/a.gif: the name must end in .png"),
    "no output": (["{dataset}"], "--output: name the file"),
    "folder": (["{dataset}", "--output", "{tmp}/d.png"], "--output {tmp}/d.png: is a folder"),
    "below a file": (["{dataset}", "--output", "{tmp}/there.png/a.png"], "cannot be written"),
    "exists": (["{dataset}", "--output", "{tmp}/there.png"], "--output {tmp}/there.png: exists; add --overwrite"),
    "inside": (["{dataset}", "--output", "{dataset}/x/../a.png"], "lies in the dataset"),
    "id and class": (["{dataset}", "--id", "x", "--class", "nevus"], "leave out --class"),
    "unknown id": (["{dataset}", "--id", "{near}"], "the nearest are {id}"),
    "no json": (["{tmp}/broken", "--id", "x"], "{tmp}/broken: dataset.json cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_wrong_use_is_said_and_nothing_is_written(
    dataset: Path, rows: list[dict[str, Any]], tmp_path: Path, name: str
) -> None:
    (tmp_path / "d.png").mkdir()
    (tmp_path / "there.png").write_bytes(b"mine")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "dataset.json").write_text("{")
    known = next(row["id"] for row in rows if row["outcome"] == "written" and row["id"].startswith("ISIC_"))
    named = {"tmp": tmp_path, "dataset": dataset, "id": known, "near": known.removeprefix("ISIC_")}
    before = sorted([*tmp_path.rglob("*"), *dataset.rglob("*")])
    with pytest.raises(UsageError, match=re.escape(BAD[name][1].format(**named))) as raised:
        show_command.main([argument.format(**named) for argument in BAD[name][0]])
    assert "\n" not in str(raised.value)
    assert sorted([*tmp_path.rglob("*"), *dataset.rglob("*")]) == before
    assert (tmp_path / "there.png").read_bytes() == b"mine"


def test_what_does_not_fit_or_is_damaged_is_said(
    command: Command, dataset: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    broken = tmp_path / "dataset"
    shutil.copytree(dataset, broken)
    shard = min(broken.glob("test-*.tfrecord"))
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    done = command("pipelines.show", broken, "--split", "test", "--output", tmp_path / "a.png")
    assert done.returncode == 2
    assert besides_progress(done.stderr) == [
        f"pipelines.show: error: {broken}: is damaged: {shard.name}: record 0 is damaged: data CRC differs; "
        "prepare it again"
    ]
    for record in (b"no example", b""):
        shard.write_bytes(frame(record))
        with pytest.raises(
            UsageError, match=f"{shard.name}: record 0 is none that prepare writes .*; prepare it again$"
        ):
            show_command.main([str(broken), "--split", "test", "--output", str(tmp_path / "a.png")])
    description = json.loads((broken / "dataset.json").read_text())
    (broken / "dataset.json").write_text(json.dumps({**description, "image_size": 4000}))
    with pytest.raises(UsageError, match=r"-n 20: at 4000 pixels, (\d) images fit on a sheet; take -n \1"):
        show_command.main([str(broken), "--split", "test", "-n", "20", "--output", str(tmp_path / "a.png")])
    assert not (tmp_path / "a.png").exists()


def _tables(text: str) -> dict[str, dict[str, list[Any]]]:
    """The tables of a card's text, by the first heading of each: {first cell: the others}."""
    tables: dict[str, dict[str, list[Any]]] = {}
    current: dict[str, list[Any]] | None = None
    for line in re.sub(r"\\(.)", r"\1", text).splitlines():
        if not line.startswith("| "):
            current = None
            continue
        first, *others = (cell.strip() for cell in line.strip("|").split(" | "))
        if current is None:
            current = tables.setdefault(first, {})
        elif not first.startswith("---"):
            current[first] = [int(cell.replace(",", "")) if re.fullmatch(r"[\d,]+", cell) else cell for cell in others]
    return tables


def test_the_card_says_what_the_dataset_and_its_manifest_say(dataset: Path, rows: list[dict[str, Any]]) -> None:
    description = json.loads((dataset / "dataset.json").read_text())
    text, counts = (dataset / "report.md").read_text(), description["counts"]
    tables = _tables(text)
    sums = [counts[name] for name in ("written", "duplicates", "rejected", "undersampled")]
    assert f"{counts['listed']} listed = {{}} written + {{}} duplicates + {{}} rejected".format(*sums) in text
    copies = defaultdict(list)
    for row in rows:
        if row["split"] == "train":
            copies[row["label"]].append(row["copies"])
    for name, (before, left_out, images, added, examples, each) in tables["Class"].items():
        label = name.removesuffix(" (malignant)")
        if label == "**train**":
            continue
        found = copies.pop(label)
        assert (before, left_out, images) == (len(found), 0, len(found))
        assert (added, examples) == (sum(found) - len(found), sum(found))
        assert each == (min(found) if min(found) == max(found) else f"{min(found)} to {max(found)}")
    assert not copies
    train = description["splits"]["train"]
    assert tables["Class"]["**train**"][2] == train["originals"]
    for name, part in (*description["splits"].items(), *((f"fold {fold['fold']}", fold) for fold in train["folds"])):
        share = f"{100 * part['originals'] / counts['written']:.1f} %"
        said = [part["originals"], share, part["examples"], len(part["shards"]), part["bytes"]]
        assert tables["Split"][name] == said
    (source,) = tables["Source"].values()
    assert source == [counts["listed"] - counts["ignored"], *sums]
    assert {reason: files for reason, (files,) in tables["Reason"].items()} == description["dropped"]
    licenses = Counter(row["license"] or "unknown" for row in rows if row["outcome"] == "written")
    assert {name: files for name, (files,) in tables["Licence"].items()} == licenses
    assert description["fingerprint"] in text
    assert str(dataset) not in text


def test_the_card_shows_records_of_every_class(
    dataset: Path, rows: list[dict[str, Any]], records: dict[str, list[tuple[Any, ...]]]
) -> None:
    tree = parse((dataset / "report.html").read_text())
    (section,) = (element for element in tree.find("section") if element.attributes["id"] == "pictures")
    classes = json.loads((dataset / "dataset.json").read_text())["classes"]
    assert [heading.text() for heading in section.find("h3")] == classes
    # The pictures are as large as the records here: they differ by being encoded once more.
    known = {small_jpeg(shot[-1], 96): (sha256, shot[0]) for sha256, shots in records.items() for shot in shots}
    labels = {row["sha256"]: (row["label"], row["split"]) for row in rows if row["outcome"] == "written"}
    seen = defaultdict(list)
    for strip in section.find("ul"):
        shots = [known[base64.b64decode(image.attributes["src"].split(",")[1])] for image in strip.find("img")]
        ((sha256, _),) = {(sha256, 0) for sha256, _ in shots}
        assert [copy for _, copy in shots] == list(range(min(4, len(records[sha256]))))
        seen[labels[sha256]].append(sha256)
    chosen = {
        name: sorted(
            (sha256 for sha256, found in labels.items() if found == (name, "train")),
            key=lambda sha256: stable_hash(0, "card", sha256),
        )[:3]
        for name in classes
    }
    assert seen == {(name, "train"): found for name, found in chosen.items()}


def test_the_command_of_the_card_gives_the_dataset_and_the_card_again(dataset: Path, tmp_path: Path) -> None:
    (block,) = re.findall(r"^```sh\n(.*?)\n```$", (dataset / "report.md").read_text(), re.MULTILINE | re.DOTALL)
    done = subprocess.run(
        # Other workers than before, which the card leaves out.
        ["sh", "-c", f"{block} --direct_running_mode multi_processing --direct_num_workers 2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name in ("dataset.json", "report.md", "report.html"):
        assert (tmp_path / "COPY" / name).read_bytes() == (dataset / name).read_bytes()


def test_showing_a_local_dataset_needs_neither_beam_nor_tensorflow(dataset: Path, tmp_path: Path) -> None:
    found = started("pipelines.show", [[dataset, "--output", tmp_path / name] for name in ("sheet.png", "sheet.html")])
    assert found.codes == [0, 0], found.stderr
    assert not {"apache_beam", "tensorflow"} & set(found.imported)
