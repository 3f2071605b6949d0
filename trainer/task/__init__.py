"""The training command: command line, run directory, and what one run does from start to export."""
