"""The audit job: judge an archive as prepare does, but count and show what is found instead of writing records."""
