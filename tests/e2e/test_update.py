"""Datasets that grow, and runs that are killed: nothing moves, and the bytes are those of one whole run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipelines.storage import filesystem
from pipelines.storage.output import begin
from tests.support.claimed import end, go_elsewhere
from tests.support.commands import Command, besides_progress
from tests.support.killing import go_on, kill, stopped

PAST = "past-00000-of-00001.parquet"
# Differs from run to run (times), or from process to process (a random number, names of temporary files).
NOT_COMPARED = {"prepare.json", "fingerprint.pb", "saved_model.pb"}


def arguments(sample: Path, source: Path, output: Path, *more: object) -> list[object]:
    return [
        *("--input", source, "--metadata", sample / "metadata.csv", "--output", output),
        *("--image_size", 32, "--folds", 2, "--small_classes", "reject", *more),
    ]


def prepare(command: Command, *given: Any) -> str:
    done = command("pipelines.prepare", *arguments(*given))
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_prepare(where: str, fragment: str, *given: Any) -> None:
    kill("pipelines.prepare", where, fragment, *arguments(*given))


def content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in NOT_COMPARED
    }


def manifest(dataset: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(dataset.glob("manifest-*")) for row in pq.read_table(path).to_pylist()]


def places(dataset: Path) -> dict[str, tuple[str, int]]:
    return {row["sha256"]: (row["split"], row["fold"]) for row in manifest(dataset) if row["outcome"] == "written"}


@pytest.fixture(scope="module")
def archives(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample without a seventh of its photographs, and whole, with another photograph of a lesion in each split."""
    root = tmp_path_factory.mktemp("archives")
    shutil.copytree(sample / "images", root / "whole")
    shutil.copytree(sample / "images", root / "part")
    for path in sorted((root / "part").rglob("ISIC_*.jpg"))[::7]:
        path.unlink()
    return root


@pytest.fixture(scope="module")
def datasets(command: Command, sample: Path, archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """part: before the update; updated; fresh: made at once from the whole with the splits of the update."""
    root = tmp_path_factory.mktemp("datasets")
    prepare(command, sample, archives / "part", root / "part")
    split_of = {row["id"]: row["split"] for row in manifest(root / "part")}
    # A photograph of each split once more, as another download gives it: smaller, under the same ISIC id.
    for split in ("train", "test"):
        path = next(path for path in sorted((archives / "part").rglob("ISIC_*.jpg")) if split_of[path.stem] == split)
        target = archives / "whole" / path.parent.name / f"{path.stem}_downsampled.jpg"
        with Image.open(path) as picture:
            picture.convert("RGB").resize((64, 48)).save(target)
    shutil.copytree(root / "part", root / "updated")
    said = prepare(command, sample, archives / "whole", root / "updated", "--update")
    (root / "said.txt").write_text(said)
    prepare(command, sample, archives / "whole", root / "fresh", "--splits_from", root / "updated")
    return root


def test_an_update_moves_nothing(datasets: Path) -> None:
    before, after = places(datasets / "part"), places(datasets / "updated")
    assert set(before) < set(after)
    assert {sha256: after[sha256] for sha256 in before} == before
    added = [
        row for row in manifest(datasets / "updated") if row["outcome"] == "written" and row["sha256"] not in before
    ]
    assert {row["split"] for row in added} == {"train", "test"}
    known = {row["group_id"]: row["split"] for row in manifest(datasets / "updated") if row["sha256"] in before}
    joined = [row for row in added if row["group_id"] in known]
    assert joined
    assert all(row["split"] == known[row["group_id"]] for row in joined)
    lesions = {row["lesion_id"]: row["split"] for row in manifest(datasets / "part") if row["outcome"] == "written"}
    assert any(row["split"] == "test" == lesions.get(row["lesion_id"]) for row in joined)


def test_the_split_of_an_image_outlives_the_image(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path
) -> None:
    """A lesion in test is taken out and a test image damaged while others take their places; then all are put back."""
    written = [row for row in manifest(datasets / "part") if row["outcome"] == "written"]
    tested = {row["lesion_id"] for row in written if row["split"] == "test"} - {None}
    known = {row["sha256"] for row in written}
    back = manifest(datasets / "updated")
    # With photographs of it that the dataset has never seen.
    gone = next(row["lesion_id"] for row in back if row["lesion_id"] in tested and row["sha256"] not in known)
    of_lesion = [row for row in back if row["lesion_id"] == gone]
    damaged = next(row for row in written if row["split"] == "test" and row["lesion_id"] != gone)
    source, output = tmp_path / "source", tmp_path / "out"
    shutil.copytree(archives / "whole", source)
    shutil.copytree(datasets / "part", output)
    names = {Path(row["path"]).relative_to(archives / "whole") for row in of_lesion}
    names.add(broken := Path(damaged["path"]).relative_to(archives / "part"))
    for name in names:
        (source / name).unlink()
    (source / broken).write_bytes(b"no image")
    prepare(command, sample, source, output, "--update", "--max_reject_fraction", 0.5)
    past = {row["sha256"]: row["split"] for row in pq.read_table(output / PAST).to_pylist()}
    lost = {row["sha256"] for row in of_lesion} & known | {damaged["sha256"]}
    assert past == dict.fromkeys(lost, "test")
    for name in names:
        shutil.copy(archives / "whole" / name, source / name)
    prepare(command, sample, source, output, "--update")
    after = places(output)
    assert {after[row["sha256"]][0] for row in [*of_lesion, damaged] if row["sha256"] in after} == {"test"}
    assert lost < after.keys()
    assert not lost & set(pq.read_table(output / PAST)["sha256"].to_pylist())


def test_an_update_gives_the_bytes_of_a_run_over_the_whole(datasets: Path) -> None:
    assert content(datasets / "updated") == content(datasets / "fresh")


def test_an_update_makes_nothing_again_that_is_there(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path
) -> None:
    old, new = (json.loads((datasets / name / "dataset.json").read_text()) for name in ("part", "updated"))
    examples = sum(split["examples"] for split in new["splits"].values())
    reused = int((datasets / "said.txt").read_text().split(f"of {examples} examples ")[1].split()[0])
    assert sum(split["originals"] for split in old["splits"].values()) <= reused < examples
    output = tmp_path / "again"
    shutil.copytree(datasets / "updated", output)
    # One encoded image is damaged: it is made again from its file, and nothing else is.
    image = pq.read_table(output / "known-00000-of-00003.parquet").to_pylist()[0]
    shard = output / image["shard"]
    data = bytearray(shard.read_bytes())
    data[image["offsets"][-1] + image["lengths"][-1] // 2] ^= 1
    shard.write_bytes(data)
    said = prepare(command, sample, archives / "whole", output, "--update")
    assert f"of {examples} examples {examples - 1} were there already" in said
    assert content(output) == content(datasets / "updated")


def test_an_update_with_other_pixels_keeps_the_splits_alone(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path
) -> None:
    output = tmp_path / "other"
    shutil.copytree(datasets / "updated", output)
    assert " 0 were there already" in prepare(
        command, sample, archives / "whole", output, "--update", "--image_size", 24
    )
    assert places(output) == places(datasets / "updated")


MOMENTS = {
    "while it begins": ("link", "claim.json"),
    "while it writes shards": ("replace", "publish/test-00000-of-00001.tfrecord"),
    "before it announces": ("replace", "ready.json"),
    "before the earlier dataset goes": ("remove", "out/dataset.json"),
    "while it publishes": ("replace", "out/train-00000-of-00002.tfrecord"),
    "before the marker": ("replace", "out/dataset.json"),
    "before it gives up its claim": ("remove", "claim.json"),
}


def moments(first: str, *others: str) -> list:
    """One moment each time; the others are proofs."""
    return [first, *(pytest.param(other, marks=pytest.mark.proof) for other in others)]


def is_refused(done: subprocess.CompletedProcess[str], process: subprocess.Popen[str]) -> bool:
    """Whether a command ends with one line about the process that writes its dataset."""
    line = f"out: is being written by process {process.pid} on "
    return (done.returncode, len(besides_progress(done.stderr))) == (2, 1) and line in done.stderr


def check_others_meanwhile(command: Command, process: subprocess.Popen[str], output: Path, *given: Any) -> None:
    """What other commands do with an output that a stopped run has claimed."""
    before = content(output)
    assert is_refused(command("pipelines.prepare", *arguments(*given)), process)
    assert is_refused(command("pipelines.prepare", *arguments(*given), "--overwrite"), process)
    assert is_refused(command("pipelines.verify", output), process)
    shown = command("pipelines.show", output, "-n", 2, "--output", output.parent / "sheet.png", "--overwrite")
    if (output / "dataset.json").exists():
        assert shown.returncode == 0, shown.stderr
    else:
        assert is_refused(shown, process)
    assert content(output) == before


@pytest.mark.parametrize(
    "moment", moments("while it publishes", "while it begins", "while it writes shards", "before it announces")
)
def test_a_run_that_is_stopped_keeps_others_out_and_killed_it_is_repeated(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path, moment: str
) -> None:
    given = sample, archives / "part", tmp_path / "out"
    with stopped("pipelines.prepare", *MOMENTS[moment], *arguments(*given)) as process:
        assert not (tmp_path / "out" / "dataset.json").exists()
        if moment != "while it begins":
            check_others_meanwhile(command, process, tmp_path / "out", *given)
    prepare(command, *given)
    assert content(tmp_path / "out") == content(datasets / "part")


@pytest.mark.proof
@pytest.mark.parametrize("moment", list(MOMENTS))
def test_an_update_that_is_stopped_and_killed_moves_nothing_either(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path, moment: str
) -> None:
    output = tmp_path / "out"
    shutil.copytree(datasets / "part", output)
    given = sample, archives / "whole", output, "--update"
    with stopped("pipelines.prepare", *MOMENTS[moment], *arguments(*given)) as process:
        if moment != "while it begins":
            check_others_meanwhile(command, process, output, *given)
    prepare(command, *given)
    assert content(output) == content(datasets / "updated")


@pytest.mark.proof
@pytest.mark.parametrize("moment", ["while it writes shards", "while it publishes", "before it gives up its claim"])
def test_a_run_that_goes_on_after_others_were_refused_is_unharmed(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path, moment: str
) -> None:
    given = sample, archives / "part", tmp_path / "out"
    with stopped("pipelines.prepare", *MOMENTS[moment], *arguments(*given)) as process:
        check_others_meanwhile(command, process, tmp_path / "out", *given)
        code, said = go_on(process)
        assert code == 0, said
    assert content(tmp_path / "out") == content(datasets / "part")


@pytest.mark.proof
@pytest.mark.parametrize("moment", ["while it begins", "before it announces"])
def test_a_run_whose_place_another_has_taken_is_refused_and_changes_nothing(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path, moment: str
) -> None:
    given = sample, archives / "part", tmp_path / "out"
    with stopped("pipelines.prepare", *MOMENTS[moment], *arguments(*given)) as process:
        if moment != "while it begins":
            # Seen from another machine it has been silent for long.
            go_elsewhere(tmp_path / "out", 3600)
        prepare(command, *given)
        code, said = go_on(process)
        assert code == 2, said
        assert re.search(
            r"error: --output .* (another run has taken it|holds a finished output)", said.splitlines()[-1]
        )
    assert content(tmp_path / "out") == content(datasets / "part")


@pytest.mark.proof
def test_what_was_left_behind_a_finished_output_is_cleared_away(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    kill_prepare(*MOMENTS["before it gives up its claim"], sample, archives / "part", output)
    assert (output / "dataset.json").exists()
    refused = command("pipelines.prepare", *arguments(sample, archives / "part", output))
    assert refused.returncode == 2
    assert "finished" in refused.stderr
    prepare(command, sample, archives / "part", output, "--overwrite")
    assert content(output) == content(datasets / "part")


def test_a_dataset_that_has_lost_its_manifest_or_folds_is_not_updated(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(datasets / "part", output)
    unfolded = command(
        *("pipelines.prepare", "--input", archives / "part", "--metadata", sample / "metadata.csv"),
        *("--output", output, "--image_size", 32, "--small_classes", "reject", "--update"),
    )
    assert (unfolded.returncode, len(besides_progress(unfolded.stderr))) == (2, 1)
    assert "--folds 0" in unfolded.stderr
    # Nor is what an interrupted run of it has left put in place.
    attempt = begin(str(output))
    filesystem.write_bytes(f"{attempt.publish_folder}/{PAST}", b"")
    attempt.announce("dataset.json", (output / "dataset.json").read_bytes())
    end(output)
    before = content(output)
    refused = command("pipelines.prepare", *arguments(sample, archives / "part", output, "--update", "--folds", 3))
    assert (refused.returncode, len(besides_progress(refused.stderr))) == (2, 1)
    assert f"--folds 3: --output {output} has 2" in refused.stderr
    assert content(output) == before
    shutil.rmtree(output / ".unfinished")
    (path,) = output.glob("manifest-*")
    whole = path.read_bytes()
    for damage in (whole[:100], None):
        path.unlink()
        if damage:
            path.write_bytes(damage)
        done = command("pipelines.prepare", *arguments(sample, archives / "part", output, "--update"))
        assert (done.returncode, len(besides_progress(done.stderr))) == (2, 1), done.stderr
        assert "manifest" in done.stderr
        path.write_bytes(whole)
    for known in output.glob("known-*"):
        known.write_bytes(b"")
    assert " 0 were there already" in prepare(command, sample, archives / "part", output, "--update")
    assert pq.read_table(output / PAST).num_rows == 0
    # The command on the card is another.
    same = {name: digest for name, digest in content(output).items() if not name.startswith(("report.", "past-"))}
    assert same.items() <= content(datasets / "part").items()
    assert "dataset.json" in same


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--update", "--split_from_folders"), "--update"),
        (("--splits_from", "nowhere"), "--splits_from nowhere: holds no finished dataset"),
        (("--splits_from", "DATASET", "--folds", "3"), "--folds 3"),
        (("--splits_from", "DATASET", "--splits_file", "x.csv"), "--splits_file x.csv: cannot be combined"),
    ],
)
def test_wrong_use_is_one_line_exit_2_and_nothing_written(
    command: Command, sample: Path, archives: Path, datasets: Path, tmp_path: Path, more: tuple[str, ...], says: str
) -> None:
    given = [str(datasets / "part") if one == "DATASET" else one for one in more]
    done = command("pipelines.prepare", *arguments(sample, archives / "part", tmp_path / "out", *given))
    assert (done.returncode, done.stdout, len(besides_progress(done.stderr))) == (2, "", 1), done.stderr
    assert says in done.stderr
    assert not (tmp_path / "out").exists()
