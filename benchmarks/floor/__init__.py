"""Time to 1% above the planted noise floor, beside other libraries: python -m benchmarks.floor."""
