"""Check, join metadata, deduplicate, label, group and split: what prepare and audit share, in the order of `curate`."""
