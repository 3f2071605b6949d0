"""What a command says while it works, on stderr: text for people, or one JSON object a line for who collects logs."""

from __future__ import annotations

import datetime
import json
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any

TEXT, JSON = FORMATS = ("text", "json")
# Time between two lines about one phase of the work, where no terminal shows a bar.
LINE_SECONDS = 30.0
_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"


class _Settings:
    command = ""
    format = TEXT


_settings = _Settings()


def begin(command: str) -> None:
    """Start to speak for a command, as text."""
    _settings.command, _settings.format = command, TEXT


def speak(log_format: str) -> None:
    """Use one of FORMATS from here on."""
    _settings.format = log_format


def say(message: str, level: str = "info", **fields: Any) -> None:
    """Print a line on stderr.

    Args:
        message: What there is to say, in one line.
        level: `info`, `note`, `warning` or `error`; text shows all but the first.
        **fields: Figures of the message, for JSON.
    """
    if _settings.format == JSON:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        line = json.dumps(
            {"time": now, "level": level, "command": _settings.command, "message": message, **fields},
            ensure_ascii=False,
        )
    else:
        parts = (_settings.command, "" if level == "info" else level, message)
        line = ": ".join(filter(None, parts))
    print(line, file=sys.stderr, flush=True)


def announce(inputs: Sequence[str], output: str) -> None:
    """Say what a job reads and writes, before all that takes time.

    Args:
        inputs: Paths, at least one.
        output: The folder that it writes.
    """
    others = f" and {len(inputs) - 1} more" if len(inputs) > 1 else ""
    say(f"reading {inputs[0]}{others}, writing {output}; starting", phase="starting")


def say_traceback(error: BaseException) -> None:
    """Print an error's traceback on stderr; in JSON it is a field of one line."""
    if _settings.format == JSON:
        say(f"{type(error).__name__}: {error}", "error", traceback="".join(traceback.format_exception(error)))
    else:
        traceback.print_exception(error)


def duration(seconds: float) -> str:
    """Format a duration like 12 s, 3 min or 2 h 5 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Phase:
    """A part of the work that takes its time: a bar on a terminal, else a line at its begin and now and then one more.

    Args:
        name: What is done, such as `checking`.
        total: How much there is to do; None if that is unknown.
        unit: What is counted, in the plural.
    """

    def __init__(self, name: str, total: int | None = None, unit: str = "images"):
        self._name, self._unit = name, unit
        self._done, self._total = 0, total
        self._began = self._said = time.monotonic()
        self._bar = None
        if sys.stderr.isatty() and _settings.format == TEXT:
            # Imported late: only a terminal needs it.
            import tqdm

            shape = _BAR if total else "{desc} [{elapsed}]"
            self._bar = tqdm.tqdm(total=total, desc=name, unit=f" {unit}", bar_format=shape)
        else:
            say(f"{name} {total:,} {unit}" if total else name, phase=name, **self._figures())

    def _figures(self, **more: float) -> dict[str, Any]:
        return {**({"total": self._total} if self._total else {}), **more}

    def close(self) -> None:
        """End the phase."""
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int) -> None:
        """Say how much more has been done."""
        self.reached(self._done + count)

    def reached(self, done: int, total: int | None = None) -> None:
        """Say how much has been done in all.

        Args:
            done: How much.
            total: How much there is to do by now; None if that has not changed.
        """
        self._total = total or self._total
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.update(done - self._done)
        self._done = done
        now = time.monotonic()
        if self._bar is None and done and now - self._said >= LINE_SECONDS:
            self._said, speed = now, done / (now - self._began)
            line = phase_line(self._name, self._unit, done, self._total, speed)
            say(line, phase=self._name, **self._figures(done=done, per_second=round(speed, 2)))


def phase_line(name: str, unit: str, done: int, total: int | None, speed: float) -> str:
    """Return a line such as `checking 500 of 2,000 images (25 %), 50 a second, 30 s left`.

    Args:
        name: The phase.
        unit: What is counted.
        done: How much has been done.
        total: How much there is to do; None if that is unknown.
        speed: How much is done in a second; more than 0.
    """
    rate = f"{speed:,.{0 if speed >= 10 else 1}f} a second"
    if not total:
        return f"{name} {done:,} {unit}, {rate}"
    return f"{name} {done:,} of {total:,} {unit} ({done / total:.0%}), {rate}, {duration((total - done) / speed)} left"
