"""Run `python -m pipelines.show`."""

from pipelines.common.cli import run_command
from pipelines.show.command import main

if __name__ == "__main__":
    run_command("pipelines.show", main)
