"""Baselines of rating prediction and of ranking, one a file: fitted in one call, in closed form."""
