"""The score job: an archive of images to class probabilities, night after night; `pipeline` has the graph."""
