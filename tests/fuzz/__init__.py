"""Damaged files for every loader: each is refused in plain words, or read right."""
