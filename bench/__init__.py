"""Benchmarks: one script per claim, ratios measured in the same run."""
