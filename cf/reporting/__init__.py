"""From results to figures that can be looked at."""
