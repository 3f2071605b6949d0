"""The sample archive and the summary of `make run`."""
