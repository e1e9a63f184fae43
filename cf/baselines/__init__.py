"""Baselines of rating prediction and of ranking, fitted in one call, in closed form."""
