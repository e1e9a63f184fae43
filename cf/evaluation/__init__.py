"""From predictions to figures that can be compared."""
