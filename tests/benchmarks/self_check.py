"""``python -m tests.benchmarks.self_check`` writes the numbers that ``watercli evaluate --self-check`` compares with.

To be run after a change that is meant to alter them; the difference is what to look at.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from watercli.evaluation import self_check


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        numbers = self_check.compute(Path(folder))
    file = Path(self_check.__file__).with_name(self_check.STORED)
    about = "Numbers of the self-check; written by python -m tests.benchmarks.self_check"
    file.write_text(json.dumps({"about": about, "numbers": numbers}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
