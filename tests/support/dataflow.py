"""Options of a job on Dataflow."""

from __future__ import annotations

DATAFLOW = ["--runner=DataflowRunner", "--region=x", "--project=myproject", "--temp_location=gs://b/t"]
