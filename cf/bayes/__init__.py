"""The Gibbs sampler and what it needs."""
