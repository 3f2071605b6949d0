"""Prism, Beam's local runner in Go: a program that PrismRunner starts, and DirectRunner too if it can be had."""

from __future__ import annotations

import os
from collections.abc import Sequence

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, PortableOptions, PrismRunnerOptions

from pipelines.common.cli import UsageError, first_line

PRISM_RUNNER = "PrismRunner"
# DirectRunner runs a job on Prism, or on FnApiRunner if Prism cannot be downloaded.
PRISM_FIRST = frozenset({PRISM_RUNNER, "DirectRunner", "SwitchingDirectRunner"})


def set_prism_options(name: str, options: PipelineOptions, arguments: Sequence[str]) -> None:
    """Check what the options say of Prism, and have it report no more than its warnings unless they say otherwise.

    Args:
        name: The runner, one of PRISM_FIRST.
        options: What Beam reads from the arguments.
        arguments: Command-line arguments.

    Raises:
        UsageError: There is no such binary, or an option has no effect on Prism.
    """
    direct, prism = options.view_as(DirectOptions), options.view_as(PrismRunnerOptions)
    for option, value, ignored in (
        ("direct_running_mode", direct.direct_running_mode, "in_memory"),
        ("direct_num_workers", direct.direct_num_workers, 1),
    ):
        if value != ignored:
            raise UsageError(f"--{option} {value}: has no effect on Prism, which {name} uses; add --runner FnApiRunner")
    location = prism.prism_location
    if location and "://" not in location and not os.path.isfile(location):
        raise UsageError(f"--prism_location {location}: no such file")
    if not any(argument.startswith("--prism_log_level") for argument in arguments):
        prism.prism_log_level = "warn"


def has_workers_here(options: PipelineOptions) -> bool:
    """Return whether a job on Prism has its workers in this process: they are there unless an option says where."""
    return (options.view_as(PortableOptions).environment_type or "LOOPBACK") == "LOOPBACK"


def start_prism(options: PipelineOptions) -> None:
    """Start Prism ahead of PrismRunner, which takes the one that runs.

    Raises:
        UsageError: It cannot be downloaded or started.
    """
    # Takes a tenth of a second, which no other runner needs.
    from apache_beam.runners.portability.prism_runner import PrismRunner

    try:
        PrismRunner().default_job_server(options).start()
    except (OSError, RuntimeError, ValueError) as error:
        location = options.view_as(PrismRunnerOptions).prism_location
        given = f"--prism_location {location}" if location else f"--runner {PRISM_RUNNER}"
        way_out = "name another binary" if location else "name a binary with --prism_location"
        raise UsageError(f"{given}: {first_line(error)}; {way_out}, or leave --runner out") from error
