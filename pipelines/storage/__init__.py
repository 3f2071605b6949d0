"""Files and buckets: file systems, archives, path lists, listing, access, and how an output appears whole."""
