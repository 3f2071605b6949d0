"""Apache Beam jobs: prepare a leak-free dataset, score an archive."""
