"""The search for better values of a training section."""
