"""Looks at the data before anyone believes them."""
