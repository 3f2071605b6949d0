"""The prepare job: labelled images to a TFRecord dataset."""
