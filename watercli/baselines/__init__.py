"""Compared with what? Every method of simulating flow: the model's own, and the baselines beside it."""
