"""The cross-validation command."""
