"""``python -m watercli.cli``."""

from watercli.cli.main import main

main()
