"""The show command: look at images of a dataset."""
