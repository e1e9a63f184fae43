"""Measurements, each in one run on one machine: python -m benchmarks.<name>."""
