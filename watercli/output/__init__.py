"""Whole or absent: how files and folders are written, continued and locked."""
