"""A trained model served over HTTP: as a model of MLflow, and as a page."""
