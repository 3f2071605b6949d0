"""Check, join metadata, deduplicate, group and split: what prepare and audit share."""
