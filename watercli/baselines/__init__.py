"""Compared with what? Every method that says what a river did: the model's own and its rivals."""
