"""A program that writes in the place of its output, as training does: one at a time, and the next when it has ended."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from pipelines.common import claimed_folder as module
from pipelines.common.claimed_folder import claimed_folder, require_free, without_claim
from pipelines.common.cli import UsageError
from tests.support.claimed import change_process, claim_of, end, go_elsewhere
from tests.support.gcs import local_gcs, open_bucket
from tests.support.gcs_proxy import door


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK", 0.01)


def refusal(folder: object) -> str:
    """The line of a second run, early as well as when it takes the claim."""
    with pytest.raises(UsageError) as early:
        require_free(str(folder))
    with pytest.raises(UsageError) as late, claimed_folder(str(folder)):
        pass
    lines = {re.sub(r"[0-9]+ s ago", "AGO", str(error.value)) for error in (early, late)}
    assert len(lines) == 1
    return str(late.value)


def test_one_run_at_a_time_has_a_folder_and_leaves_nothing_else_there(tmp_path: Path) -> None:
    output = tmp_path / "deep" / "out"
    with claimed_folder(str(output)) as claimed:
        claimed.require_own()
        said = refusal(output)
        assert said.startswith(f"--output {output}: is being written by process {os.getpid()} on ")
        assert said.endswith(f"if it is dead, delete {claim_of(output)}")
    assert not (tmp_path / "deep").exists()
    require_free(str(output))
    with claimed_folder(str(output)):
        (output / "run.json").write_text("{}")
    assert [path.name for path in output.iterdir()] == ["run.json"]


def leave_a_claim(folder: Path) -> None:
    """Leave what a killed run does."""
    with claimed_folder(str(folder)):
        content = claim_of(folder).read_bytes()
    claim_of(folder).parent.mkdir(parents=True)
    claim_of(folder).write_bytes(content)


def test_a_killed_run_of_this_machine_is_followed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_a_claim(tmp_path)
    end(tmp_path)
    require_free(str(tmp_path))
    with claimed_folder(str(tmp_path)) as claimed:
        claimed.require_own()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_killed_run_of_another_machine_is_followed_when_it_has_been_silent(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_a_claim(tmp_path)
    go_elsewhere(tmp_path, module._SILENCE - 0.1)
    # What will be known soon is no reason to refuse.
    require_free(str(tmp_path))
    with claimed_folder(str(tmp_path)) as claimed:
        claimed.require_own()
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert f"{tmp_path}: waiting for a sign of life of process " in line
    assert line.endswith(", which may have ended, or 90 s of silence")
    assert "taken over from process" in said.out


def test_a_run_of_another_machine_that_gives_a_sign_of_life_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_a_claim(tmp_path)
    go_elsewhere(tmp_path, 30)
    monkeypatch.setattr("pipelines.common.claims._RENEWAL", 0.01)
    with (
        module._claims().renewed(str(tmp_path)),
        pytest.raises(UsageError, match=r"is being written by process .* on elsewhere"),
        claimed_folder(str(tmp_path)),
    ):
        pass
    assert claim_of(tmp_path).exists()


def test_a_run_that_was_overtaken_finds_out_and_leaves_the_claim_alone(tmp_path: Path) -> None:
    with claimed_folder(str(tmp_path)) as claimed:
        change_process(tmp_path, host="elsewhere", boot="another")
        others = claim_of(tmp_path).read_bytes()
        with pytest.raises(UsageError, match=f"--output {tmp_path}: another run has taken it meanwhile; run one at a"):
            claimed.require_own()
        claim_of(tmp_path).write_bytes(others.replace(b'"attempt": "', b'"attempt": "f'))
    assert claim_of(tmp_path).exists()


def test_a_claim_is_not_taken_for_content(tmp_path: Path) -> None:
    with claimed_folder(str(tmp_path)):
        assert without_claim({path.name for path in tmp_path.iterdir()}, tmp_path) == set()
        claim_of(tmp_path).with_name("precious.txt").write_text("mine")
        assert without_claim({".unfinished", "a"}, tmp_path) == {".unfinished", "a"}
    assert without_claim({".unfinished/claim.json", ".unfinished/notes.txt"}) == {".unfinished/notes.txt"}
    assert claim_of(tmp_path).with_name("precious.txt").exists()


def test_a_bucket_has_one_run_at_a_time_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "gs://runs/one"
    with local_gcs(tmp_path, "runs") as environment, door(environment["STORAGE_EMULATOR_HOST"]) as opened:
        bucket = open_bucket(environment, "runs")
        for name, value in {**environment, "STORAGE_EMULATOR_HOST": opened.url}.items():
            monkeypatch.setenv(name, value)
        with claimed_folder(place) as claimed:
            claimed.require_own()
            assert refusal(place).endswith(f"if it is dead, delete {place}/.unfinished/claim.json")
            content = bucket.blob("one/.unfinished/claim.json").download_as_bytes()
        assert list(bucket.list_blobs()) == []
        # That of a run which was killed.
        number = f'"number": {os.getpid()}'.encode()
        assert number in content
        bucket.blob("one/.unfinished/claim.json").upload_from_string(content.replace(number, b'"number": 4194305'))
        with claimed_folder(place) as claimed:
            claimed.require_own()
        opened.fault = lambda method, path: 403
        with pytest.raises(UsageError, match="--output gs://runs/one: may not write the claim"), claimed_folder(place):
            pass


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"), claimed_folder(str(tmp_path / "file")):
        pass
