"""bayesmf as params.yaml has it, on rows that others publish on: python -m benchmarks.ladder."""
