"""Run `python -m pipelines.verify`."""

from pipelines.common.cli import run_command
from pipelines.verify.command import main

if __name__ == "__main__":
    run_command("pipelines.verify", main)
