"""What orders items for a user without predicting stars: baselines of ranking, one a file."""
