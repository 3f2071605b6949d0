"""The cross-validation command: folds, ablations, out-of-fold predictions, and the model card."""
