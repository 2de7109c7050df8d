"""Hydrology that knows no run and no model: scores, signatures, climatology, GR4J, quantities."""
