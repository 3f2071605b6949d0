"""Run `python -m trainer.evaluate`."""

from pipelines.common.cli import run_command
from trainer.evaluate.command import main

if __name__ == "__main__":
    run_command("trainer.evaluate", main)
