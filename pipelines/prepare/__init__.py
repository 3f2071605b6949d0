"""The prepare job: labelled images to a TFRecord dataset; `pipeline` has the graph."""
