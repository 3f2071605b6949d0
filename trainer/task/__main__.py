"""Run `python -m trainer.task`."""

from pipelines.common.cli import run_command
from trainer.task.run import main

if __name__ == "__main__":
    run_command("trainer.task", main)
