"""A run directory: its checkpoints, and which stores they fit."""
