"""From predictions to metrics that can be compared."""
