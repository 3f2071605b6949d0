"""Generic Beam: runner options, threads, tables, ranking, connected components."""
