"""MultiModalMAE: a masked autoencoder over daily grids and catchment series. Imports torch only, reads no file."""
