"""The audit command: what it says of an archive with known troubles, and of the real nine-class set."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.common.html import script_source
from pipelines.domain.taxonomy import built_in_set
from tests.support.browser import dump_dom, parse
from tests.support.commands import Command, besides_progress
from tests.support.out_of_fold import write_table

HOSTILE = "<img src=x onerror=alert(1)> & 'it'.jpg"


def split_of(path: str) -> str:
    return next((part.lower() for part in Path(path).parts if part in ("Train", "Test")), "")


@pytest.fixture(scope="module")
def halves(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as Train and Test folders: every fourth photograph in Test, and copies of each kind."""
    root = tmp_path_factory.mktemp("halves") / "set"
    shutil.copytree(sample / "images", root / "Train")
    paths = sorted(path for path in (root / "Train").rglob("ISIC_*.jpg"))
    for path in paths[::4]:
        target = root / "Test" / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    readable = [path for path in paths[1::4] if path.parent.name == "nevus"]
    shutil.copy(readable[0], root / "Test" / "nevus" / "bytes.jpg")
    with Image.open(readable[1]) as picture:
        picture.convert("RGB").resize((100, 90)).save(root / "Test" / "nevus" / "resized.jpg")
    shutil.copy(readable[2], root / "Test" / "nevus" / f"{readable[2].stem}(1).jpg")
    shutil.copy(readable[3], root / "Train" / "melanoma" / "under two classes.jpg")
    (root / "Test" / "nevus" / HOSTILE).write_bytes(b"not an image")
    return root


def judged_inputs(halves: Path, sample: Path) -> list[object]:
    """The halves, their table, and predictions that doubt the label of one nevus in Train."""
    table = halves.parent / "out_of_fold.parquet"
    if not table.exists():
        names = built_in_set("isic9").classes
        labels = {path.stem: path.parent.name for path in (halves / "Train").rglob("ISIC_*.jpg")}
        nevi = sorted(name for name, label in labels.items() if label == "nevus")[:12]
        probable = np.full((len(nevi), len(names)), 0.01)
        probable[:, names.index("nevus")] = 0.92
        # Of the class melanoma there is no image whose probability could be usual: a second class is needed.
        melanomas = sorted(name for name, label in labels.items() if label == "melanoma")[:12]
        others = np.full((len(melanomas), len(names)), 0.01)
        others[:, names.index("melanoma")] = 0.92
        probable[6] = others[0]
        rows = zip([*nevi, *melanomas], [*probable, *others], strict=True)
        write_table(table, names, [(name, "", values) for name, values in rows])
    return ["--input", halves, "--metadata", sample / "metadata.csv", "--predictions", table]


@pytest.fixture(scope="module")
def finished(
    process: Command, sample: Path, halves: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    output = tmp_path_factory.mktemp("audited") / "audit"
    done = process("pipelines.audit", *judged_inputs(halves, sample), "--output", output)
    return output, done


@pytest.fixture(scope="module")
def audit(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    assert finished[1].returncode == 0, finished[1].stderr
    return finished[0]


def report_of(audit: Path) -> dict[str, Any]:
    return json.loads((audit / "audit.json").read_text())


def lines(audit: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(audit.glob(f"{name}-*")) for line in path.read_text().splitlines()]


def manifest(audit: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(audit.glob("manifest-*")) for row in pq.read_table(path).to_pylist()]


def test_it_exits_with_0_and_writes_the_report_and_no_records(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    output, done = finished
    assert (done.returncode, besides_progress(done.stderr)) == (0, [])
    assert str(output / "report.html") in done.stdout
    kinds = {path.name.split("-")[0] for path in output.iterdir()}
    tables = {"manifest", "rejects", "conflicts", "leakage", "near_duplicates", "label_errors"}
    assert kinds == {"audit.json", "report.html"} | tables


def test_every_figure_is_that_of_the_files(audit: Path, halves: Path, sample: Path) -> None:
    report, rows = report_of(audit), manifest(audit)
    listed = [path for path in halves.rglob("*") if path.suffix.lower() in (".jpg", ".png")]
    counts, outcomes = report["counts"], Counter(row["outcome"] for row in rows)
    assert counts["listed"] - counts["ignored"] == len(listed) == len(rows) == sum(outcomes.values())
    assert (counts["usable"], counts["duplicates"], counts["rejected"]) == (
        outcomes["usable"],
        outcomes["duplicate"],
        outcomes["rejected"],
    )
    assert counts["distinct_ids"] == len({row["id"] for row in rows})
    usable = [row for row in rows if row["outcome"] == "usable"]
    assert {entry["class"]: entry["usable"] for entry in report["per_class"]} == Counter(r["label"] for r in usable)
    assert {name: split["images"] for name, split in report["splits"].items()} == Counter(r["split"] for r in usable)
    assert {split: entry["groups"] for split, entry in report["splits"].items()} == {
        split: len({row["group_id"] for row in usable if row["split"] == split}) for split in report["splits"]
    }
    reasons = Counter(row["reason"] for row in rows if row["outcome"] == "rejected")
    assert {entry["reason"]: entry["files"] for entry in report["rejects"]} == reasons
    assert {line["path"] for line in lines(audit, "rejects")} == {row["path"] for row in rows if row["reason"]}
    assert report["sizes"]["formats"] == Counter(row["format"] for row in rows if row["format"])
    assert report["licenses"] == [{"license": "unknown", "files": len(rows)}]
    table = csv.DictReader((sample / "metadata.csv").open())
    lesion_of = {line["isic_id"]: line["lesion_id"] for line in table if line["lesion_id"]}
    lesions = defaultdict(set)
    for image in {row["id"] for row in rows} & set(lesion_of):
        lesions[lesion_of[image]].add(image)
    assert report["lesions"] == {
        "distinct": len(lesions),
        "with_several_images": sum(len(images) > 1 for images in lesions.values()),
        "images": len(set().union(*lesions.values())),
        "ids": {
            "known": len(lesions),
            "of_the_archive": sum(lesion.startswith("IL_") for lesion in lesions),
            "numbers_of_one_source": 0,
            "the_same_anywhere": sum(not lesion.startswith("IL_") for lesion in lesions),
        },
        "frequent": [],
    }
    names = sorted(path.name for path in listed if path.stem.endswith("(1)"))
    assert sorted(Path(path).name for path in report["repeated_names"]["examples"]) == names
    assert len(names) == 2


def test_leakage_is_every_group_with_files_on_both_sides(audit: Path, halves: Path) -> None:
    """Against a search of our own: files joined by lesion, id and bytes, and by the pairs that the audit confirmed."""
    rows = [row for row in manifest(audit) if row["sha256"] and row["format"] and row["reason"] != "undecodable"]
    group = {row["path"]: number for number, row in enumerate(rows)}

    def join(paths: Iterable[str]) -> None:
        numbers = {group[path] for path in paths if path in group}
        for path, number in group.items():
            if number in numbers:
                group[path] = min(numbers)

    keys = defaultdict(list)
    for row in rows:
        for key in (row["sha256"], row["lesion_id"], row["id"] if row["id"].startswith("ISIC_") else None):
            if key:
                keys[key].append(row["path"])
    for paths in keys.values():
        join(paths)
    for pair in lines(audit, "near_duplicates"):
        join([pair["first"]["path"], pair["second"]["path"]])
    members: defaultdict[int, dict[str, list[str]]] = defaultdict(lambda: {"train": [], "test": []})
    for path, number in group.items():
        members[number][split_of(path)].append(path)
    found = [leak["files"] for leak in lines(audit, "leakage")]
    expected = [sides for sides in members.values() if all(sides.values())]

    def in_order(groups: Iterable[dict[str, list[str]]]) -> list[list[tuple[str, list[str]]]]:
        return sorted(sorted((side, sorted(paths)) for side, paths in sides.items()) for sides in groups)

    assert in_order(found) == in_order(expected)
    because = {reason.split()[0] for leak in lines(audit, "leakage") for reason in leak["because"]}
    assert because >= {"lesion", "same", "near-duplicate"}
    report = report_of(audit)["leakage"]
    assert report["groups"] == len(expected) > 10
    assert report["files"] == {
        "train": sum(len(sides["train"]) for sides in expected),
        "validation": 0,
        "test": sum(len(sides["test"]) for sides in expected),
    }
    assert report["given"]["test"] == sum(split_of(row["path"]) == "test" for row in manifest(audit))


def test_conflicts_name_both_labels(audit: Path) -> None:
    conflicts = lines(audit, "conflicts")
    # The sample has one of its own.
    (ours,) = [conflict for conflict in conflicts if any("under two" in path for path in conflict["paths"])]
    assert {(claim["source"], *claim["labels"]) for claim in ours["claims"]} == {
        ("folder", "melanoma"),
        ("folder", "nevus"),
    }
    report = report_of(audit)["conflicts"]
    assert report["images"] == len(conflicts)
    assert {"labels": ["melanoma", "nevus"], "images": 2, "files": 4} in report["pairs"]


def test_a_label_that_predictions_contradict_is_found(audit: Path) -> None:
    report = report_of(audit)["label_errors"]
    (error,) = lines(audit, "label_errors")
    assert (error["label"], error["suggested"]) == ("nevus", "melanoma")
    assert report["examples"] == [error]
    assert report["found"] == 1
    assert report["images"] + report["without_prediction"] == report_of(audit)["counts"]["usable"]
    assert error["id"] in (audit / "report.html").read_text()


def test_quality_is_counted_as_the_manifest_has_it(audit: Path) -> None:
    rows = [row for row in manifest(audit) if row["issues"] and row["outcome"] != "duplicate"]
    quality = report_of(audit)["quality"]
    assert quality["files"] == len(rows)
    counts = Counter(name for row in rows for name in row["issues"].split("; "))
    assert {entry["issue"]: entry["files"] for entry in quality["issues"]} == counts
    assert all(row["blurry_score"] is not None for row in manifest(audit) if row["outcome"] == "usable")


def test_the_page_shows_all_of_it_and_runs_nothing(audit: Path) -> None:
    page = parse(dump_dom(audit / "report.html"))
    text = page.text()
    assert HOSTILE in text
    (script,) = page.find("script")
    assert script_source(script.text()) in page.find("meta")[1].attributes["content"]
    images = page.find("img")
    assert len(images) > 20
    assert all(image.attributes["src"].startswith("data:image/jpeg;base64,") for image in images)


def test_prepare_judges_alike(command: Command, audit: Path, sample: Path, halves: Path, tmp_path: Path) -> None:
    done = command(
        *("pipelines.prepare", "--input", halves, "--metadata", sample / "metadata.csv"),
        *("--output", tmp_path / "out", "--image_size", 16, "--balance", "none"),
    )
    assert done.returncode == 0, done.stderr

    def judged(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = ("path", "label", "claims", "group_id", "split", "reason")
        return [{name: row[name] for name in kept} for row in rows]

    assert judged(manifest(tmp_path / "out")) == judged(manifest(audit))


def test_the_same_report_with_other_workers_and_exit_1_beyond_a_limit(
    process: Command, audit: Path, sample: Path, halves: Path, tmp_path: Path
) -> None:
    done = process(
        *("pipelines.audit", *judged_inputs(halves, sample), "--output", tmp_path / "out"),
        *("--direct_running_mode", "multi_processing", "--direct_num_workers", 2, "--max_reject_fraction", 0.001),
    )
    assert done.returncode == 1, done.stderr
    assert "--max_reject_fraction 0.001" in done.stderr
    for path in audit.iterdir():
        assert (tmp_path / "out" / path.name).read_bytes() == path.read_bytes(), path.name


def test_what_prepare_would_refuse_is_reported(command: Command, sample: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    for name in ("melanoma", "nevus"):
        shutil.copytree(sample / "images" / name, source / name)
    done = command("pipelines.audit", "--input", source, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "prepare would refuse: --classes: no usable image of class 'actinic keratosis'" in done.stdout
    again = command("pipelines.audit", "--input", source, "--output", tmp_path / "out")
    assert (again.returncode, again.stdout) == (2, "")
    assert "--overwrite" in again.stderr
    missing = command("pipelines.audit", "--input", tmp_path / "nowhere", "--output", tmp_path / "new")
    assert (missing.returncode, missing.stdout, missing.stderr.count("\n")) == (2, "", 1)
    assert not (tmp_path / "new").exists()


def test_figures_of_the_nine_class_set_are_those_counted_by_hand(
    command: Command, shared_data: Path, tmp_path: Path
) -> None:
    """Figures counted by hand when the data was collected."""
    done = command(
        *("pipelines.audit", "--input", shared_data / "isic9/Train", "--output", tmp_path),
        *("--metadata", shared_data / "tables/HAM10000_metadata.csv"),
    )
    assert done.returncode == 0, done.stderr
    report = report_of(tmp_path)
    assert (report["counts"]["listed"], report["counts"]["distinct_ids"]) == (2241, 2102)
    assert sorted(Path(path).name for path in report["repeated_names"]["examples"]) == [
        "ISIC_0025509(1).jpg",
        "ISIC_0025601(1).jpg",
    ]
    assert report["conflicts"]["pairs"][:2] == [
        {"labels": ["melanoma", "seborrheic keratosis"], "images": 75, "files": 150},
        {"labels": ["actinic keratosis", "nevus"], "images": 62, "files": 124},
    ]
    assert (report["lesions"]["distinct"], report["lesions"]["with_several_images"]) == (1033, 291)
    assert "1033, of which 291" in done.stdout
