"""Models that travel: folders of weights and JSON, their cards, and where they are found."""
