"""Who may work in an output: one run at a time, and the next when it has ended."""

from __future__ import annotations

import json
import os
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pipelines.common.cli import UsageError
from pipelines.storage import claims
from pipelines.storage.left_job import LeftJob, remember_job
from tests.support.claimed import claim_of, end, go_elsewhere
from tests.support.dataflow_server import local_dataflow
from tests.support.gcs import local_gcs


def take(folder: Path, attempt: str) -> claims.Claim | None:
    return claims.take(str(folder), claims.new_claim(attempt))


def owner(folder: Path) -> str:
    claim = claims.read_claim(str(folder))
    return claim.attempt if claim else ""


def refusal(folder: Path) -> str:
    """The one line of a run that is refused, early as well as when it takes the claim."""
    with pytest.raises(UsageError) as early:
        claims.require_free(str(folder))
    with pytest.raises(UsageError) as late:
        take(folder, "b")
    assert owner(folder) == "a"
    lines = {re.sub(r"[0-9]+ (s|min) ago", "AGO", str(error.value)) for error in (early, late)}
    assert len(lines) == 1
    assert "\n" not in str(late.value)
    return str(late.value)


def test_a_claim_says_who_has_it_and_holds_until_it_is_given_up(tmp_path: Path) -> None:
    claims.require_free(str(tmp_path))
    assert take(tmp_path, "a") is None
    assert json.loads(claim_of(tmp_path).read_text()).keys() >= {"attempt", "process", "program", "since"}
    said = refusal(tmp_path)
    assert said.startswith(f"--output {tmp_path}: is being written by process {os.getpid()} on ")
    assert "last sign of life 0 s ago; wait for it, or end it; if it is dead, delete " in said
    assert said.endswith(str(claim_of(tmp_path)))
    claims.release(str(tmp_path), "b")
    assert owner(tmp_path) == "a"
    claims.release(str(tmp_path), "a")
    assert not claim_of(tmp_path).exists()


def test_the_claim_of_a_process_that_has_ended_is_taken_over_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(tmp_path, "a")
    end(tmp_path)
    claims.require_free(str(tmp_path))
    earlier = take(tmp_path, "b")
    assert earlier is not None
    assert (earlier.attempt, owner(tmp_path)) == ("a", "b")
    assert capsys.readouterr().out == ""


def test_a_command_that_fails_in_a_process_that_goes_on_gives_way(tmp_path: Path) -> None:
    take(tmp_path, "a")
    claims.end(str(tmp_path), "b")
    refusal(tmp_path)
    claims.end(str(tmp_path), "a")
    claims.require_free(str(tmp_path))
    take(tmp_path, "b")
    assert owner(tmp_path) == "b"


def test_the_claim_of_another_machine_is_taken_over_after_a_long_silence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take(tmp_path, "a")
    go_elsewhere(tmp_path, claims.SILENCE - 60)
    assert "on elsewhere" in refusal(tmp_path)
    assert "last sign of life 9 min ago" in refusal(tmp_path)
    assert "or wait until it has been silent for 10 min" in refusal(tmp_path)
    go_elsewhere(tmp_path, claims.SILENCE)
    # Who only looks takes nothing over.
    claims.require_free(str(tmp_path))
    assert capsys.readouterr().out == ""
    take(tmp_path, "b")
    assert owner(tmp_path) == "b"
    assert re.fullmatch(
        rf"{tmp_path}: taken over from process \d+ on elsewhere \(.*\), which has given no sign of life for \d+ min\n",
        capsys.readouterr().out,
    )


def test_of_many_that_find_a_dead_claim_one_takes_it_over(tmp_path: Path) -> None:
    take(tmp_path, "a")
    end(tmp_path)
    many = 8
    start = threading.Barrier(many)

    def attempt(number: int) -> bool:
        start.wait()
        try:
            take(tmp_path, f"b{number}")
        except UsageError:
            return False
        return True

    with ThreadPoolExecutor(many) as pool:
        won = [number for number, done in enumerate(pool.map(attempt, range(many))) if done]
    assert len(won) == 1
    assert owner(tmp_path) == f"b{won[0]}"


def test_signs_of_life_renew_the_claim_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.common.claims._RENEWAL", 0.01)
    take(tmp_path, "a")
    with claims.renewed(str(tmp_path)):
        os.utime(claim_of(tmp_path), (1, 1))
        while claim_of(tmp_path).stat().st_mtime == 1:
            pass
        end(tmp_path)
        take(tmp_path, "b")
        os.utime(claim_of(tmp_path), (1, 1))
        # The thread ends when it sees another's claim.
        while any(thread.name == "claim" for thread in threading.enumerate()):
            pass
        assert claim_of(tmp_path).stat().st_mtime == 1


def test_a_job_that_goes_on_without_its_command_keeps_its_output(tmp_path: Path) -> None:
    take(tmp_path, "a")
    remember_job(str(tmp_path / ".unfinished" / "a"), LeftJob("the job 7 of FlinkRunner at localhost:8099"))
    assert "is being written by process" in refusal(tmp_path)
    end(tmp_path)
    said = refusal(tmp_path)
    assert (
        f"--output {tmp_path}: is being written by the job 7 of FlinkRunner at localhost:8099, which process " in said
    )
    assert said.endswith(f"wait for it, or cancel it; if it has ended, delete {claim_of(tmp_path)}")


def test_a_job_of_dataflow_that_has_ended_leaves_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_dataflow() as dataflow, local_gcs(tmp_path, "lesions") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        _, job = dataflow.answer("POST", "/v1b3/projects/p/locations/r/jobs", b"{}")
        url = f"{dataflow.address}/v1b3/projects/p/locations/r/jobs/{job['id']}"
        take(tmp_path, "a")
        end(tmp_path)
        remember_job(str(tmp_path / ".unfinished" / "a"), LeftJob("the job of DataflowRunner", url))
        assert "the job of DataflowRunner" in refusal(tmp_path)
        dataflow.say("JOB_STATE_FAILED")
        take(tmp_path, "b")
        assert owner(tmp_path) == "b"


def test_a_job_of_which_nothing_can_be_had_keeps_its_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_gcs(tmp_path, "lesions") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        take(tmp_path, "a")
        end(tmp_path)
        remember_job(str(tmp_path / ".unfinished" / "a"), LeftJob("the job of DataflowRunner", "http://localhost:1/x"))
        assert "the job of DataflowRunner" in refusal(tmp_path)
