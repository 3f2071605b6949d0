"""The audit job: the same inputs, counted and shown instead of written."""
