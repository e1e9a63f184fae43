"""Other libraries on the same rows, beside cf's own models: python -m benchmarks.peers."""
