"""Files: file systems, archives, path lists, and how an output appears."""
