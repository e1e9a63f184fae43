"""Training on several machines: Ray launches the workers, TorchRec divides the tables."""
