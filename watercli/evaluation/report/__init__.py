"""Shows an evaluation: page, figures, tables, terminal."""
