"""What commands say while they work: lines for people, objects for machines, a bar on a terminal."""

from __future__ import annotations

import json
import os
import pty
import sys
import termios
from collections.abc import Iterator

import pytest

from pipelines.common import console
from pipelines.common.argument_parser import ArgumentParser
from pipelines.common.cli import UsageError


@pytest.fixture(autouse=True)
def _spoken_for() -> Iterator[None]:
    console.begin("prog")
    yield
    console.begin("")


def test_a_line_names_its_command_and_its_level(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("works")
    console.say("look", "warning")
    console.begin("")
    console.say("alone")
    assert capsys.readouterr().err == "prog: works\nprog: warning: look\nalone\n"


def test_json_has_an_object_a_line_with_figures_and_tracebacks(capsys: pytest.CaptureFixture[str]) -> None:
    console.speak("json")
    console.say("a\u00e9", "note", phase="checking", done=3)
    try:
        raise ZeroDivisionError("of ours")
    except ZeroDivisionError as error:
        console.say_traceback(error)
    console.Phase("checking", 1200)
    noted, failed, phase = map(json.loads, capsys.readouterr().err.splitlines())
    assert noted.pop("time") <= failed.pop("time")
    assert noted == {"level": "note", "command": "prog", "message": "a\u00e9", "phase": "checking", "done": 3}
    assert (failed["level"], failed["message"]) == ("error", "ZeroDivisionError: of ours")
    assert failed["traceback"].endswith("ZeroDivisionError: of ours\n")
    assert (phase["message"], phase["phase"], phase["total"]) == ("checking 1,200 images", "checking", 1200)


def test_any_command_takes_the_form_and_says_its_mistakes_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser("prog")
    parser.add_argument("--seed", type=int)
    found = parser.parse_args(["--seed=1", "--log_format", "json"])
    assert vars(found) == {"seed": 1}
    console.say("works")
    console.begin("prog")
    with pytest.raises(UsageError):
        parser.parse_args(["--log_format=json", "--sed=1"])
    console.say("fails", "error")
    assert [json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()] == ["works", "fails"]


def test_what_is_read_and_written_is_said_first(capsys: pytest.CaptureFixture[str]) -> None:
    console.announce(["a"], "out")
    console.announce(["a", "b", "c"], "out")
    assert capsys.readouterr().err == (
        "prog: reading a, writing out; starting\nprog: reading a and 2 more, writing out; starting\n"
    )


def test_a_phase_is_said_when_it_begins_and_seldom_after(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    phase = console.Phase("checking", 2000)
    phase.advance(100)
    assert capsys.readouterr().err == "prog: checking 2,000 images\n"
    monkeypatch.setattr(console, "LINE_SECONDS", 0.0)
    phase.reached(500, 2500)
    phase.close()
    assert capsys.readouterr().err.startswith("prog: checking 500 of 2,500 images (20%), ")
    console.Phase("grouping").close()
    assert capsys.readouterr().err == "prog: grouping\n"


@pytest.mark.parametrize(
    ("done", "total", "speed", "line"),
    [
        (500, 2000, 50.0, "checking 500 of 2,000 images (25%), 50 a second, 30 s left"),
        (1000, 1_000_000, 1000.4, "checking 1,000 of 1,000,000 images (0%), 1,000 a second, 17 min left"),
        (40, 100, 0.25, "checking 40 of 100 images (40%), 0.2 a second, 4 min left"),
        (40, 40, 2.0, "checking 40 of 40 images (100%), 2.0 a second, 0 s left"),
        (40, None, 2.0, "checking 40 images, 2.0 a second"),
    ],
)
def test_the_line_has_counts_share_and_speed(done: int, total: int | None, speed: float, line: str) -> None:
    assert console.phase_line("checking", "images", done, total, speed) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89.4, "89 s"), (90, "2 min"), (89 * 60, "89 min"), (90 * 60, "1 h 30 min"), (36_000, "10 h 0 min")],
)
def test_a_duration_is_told_in_the_unit_that_fits_it(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_a_terminal_shows_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, inner = pty.openpty()
    termios.tcsetwinsize(inner, (24, 80))
    with os.fdopen(inner, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        phase = console.Phase("checking", 200)
        phase.reached(200)
        phase.close()
        shown = os.read(terminal, 10_000).decode()
    os.close(terminal)
    assert "checking   0%|" in shown
    assert "checking 100%|" in shown
    assert "| 200/200 [" in shown
