"""Collaborative filtering: models, training and evaluation, apart from the workflow around them."""
