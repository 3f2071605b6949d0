"""Metrics with intervals, thresholds and curves."""
