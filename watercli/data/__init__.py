"""From the store to batches: scaling, windows, reading."""
