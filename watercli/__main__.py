"""``python -m watercli``."""

from watercli.cli.main import main

main()
