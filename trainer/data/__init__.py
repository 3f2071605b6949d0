"""From a prepared dataset to batches: records by position, preprocessing, augmentation, the input pipeline."""
