"""Run `python -m pipelines.score`."""

from pipelines.common.cli import run_command
from pipelines.score.command import main

if __name__ == "__main__":
    run_command("pipelines.score", main)
