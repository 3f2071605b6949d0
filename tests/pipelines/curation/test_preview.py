"""A dry run of prepare or audit: what listings and tables say, without an image opened."""

from __future__ import annotations

from pathlib import Path

from pipelines.curation.preview import preview
from tests.support.commands import Command, besides_progress
from tests.support.image_trees import tree
from tests.support.source_files import completed, write


def test_files_labels_conflicts_and_lesions_are_counted_as_a_run_would(tmp_path: Path) -> None:
    tree(
        tmp_path / "in",
        *("nevus/ISIC_0000001.jpg", "nevus/ISIC_0000002.jpg", "melanoma/ISIC_0000003.jpg", "odd/ISIC_0000004.jpg"),
        *("notes.txt", "@eaDir/ISIC_0000005.jpg"),
    )
    rows = ["L1,ISIC_0000001,nv", "L1,ISIC_0000002,mel", "L2,ISIC_0000003,"]
    table = write(tmp_path / "HAM10000_metadata.csv", "\n".join(["lesion_id,image_id,dx", *rows, ""]))
    options = completed([tmp_path / "in"], [table])
    found = preview(options)
    assert (found.images, found.files, found.passed_over) == (4, 5, 1)
    assert found.others == {".txt": 1}
    assert found.labels == {"nevus": 1, "melanoma": 1}
    assert (found.conflicts, found.unmapped, found.lesions) == (1, {"odd": 1}, 2)
    lines = found.lines(options)
    assert lines[1:4] == [
        "images by their names: 4; other files: .txt 1",
        "passed over as droppings of systems: 1",
        "labels: actinic keratosis 0, basal cell carcinoma 0, dermatofibroma 0, melanoma 1, nevus 1, "
        "pigmented benign keratosis 0, seborrheic keratosis 0, squamous cell carcinoma 0, vascular lesion 0",
    ]
    assert lines[4:] == [
        "files on whose class their sources disagree: 1",
        "without a class: 1 files; not understood: 'odd' 1",
        "lesion ids: 2",
    ]


def test_a_file_of_two_inputs_is_counted_once(tmp_path: Path) -> None:
    tree(tmp_path / "in", "nevus/a.jpg", "nevus/b.jpg")
    assert preview(completed([tmp_path / "in", tmp_path / "in/nevus"])).images == 2


def test_the_commands_end_there_and_write_nothing(command: Command, tmp_path: Path) -> None:
    # Not one of them is an image: nobody looks.
    tree(tmp_path / "in", "nevus/a.jpg", "melanoma/b.jpg")
    for job, what in (("prepare", "128 px, png, balance none"), ("audit", "report.html, audit.json and tables")):
        more = ("--image_size", 128, "--encoding", "png", "--balance", "none") if job == "prepare" else ()
        done = command(f"pipelines.{job}", "--input", tmp_path / "in", "--output", tmp_path / "out", "--dry_run", *more)
        assert done.returncode == 0, done.stderr
        assert besides_progress(done.stderr) == []
        assert f"would write {tmp_path / 'out'}: {what}\n" in done.stdout
        assert done.stdout.endswith("dry run: no image was read, and nothing written\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
