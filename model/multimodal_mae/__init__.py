"""MultiModalMAE: a masked autoencoder over daily grids and catchment series. Reads no file."""
