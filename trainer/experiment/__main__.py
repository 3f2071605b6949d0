"""Run `python -m trainer.experiment`."""

from pipelines.common.cli import run_command
from trainer.experiment.command import main

if __name__ == "__main__":
    run_command("trainer.experiment", main)
