"""Run `python -m pipelines.prepare`."""

from pipelines.common.cli import run_command
from pipelines.prepare.command import main

if __name__ == "__main__":
    run_command("pipelines.prepare", main)
