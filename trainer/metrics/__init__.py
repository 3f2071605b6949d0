"""Figures of merit with bootstrap intervals, thresholds, and ROC and precision-recall curves."""
