"""Generic Beam, which knows nothing of lesions: runner, Dataflow, threads, tables, ranking, connected components."""
