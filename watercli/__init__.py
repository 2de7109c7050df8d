"""watercli: a hydrology foundation model, from gridded weather and catchment series to river-flow embeddings."""

__version__ = "0.1.0"
