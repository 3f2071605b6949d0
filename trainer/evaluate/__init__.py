"""The evaluation command."""
