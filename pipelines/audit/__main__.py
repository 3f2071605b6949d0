"""Run `python -m pipelines.audit`."""

from pipelines.audit.command import main
from pipelines.common.cli import run_command

if __name__ == "__main__":
    run_command("pipelines.audit", main)
