"""Pretraining: engines, the loop, the launcher."""
