"""Tests mirror the packages."""

import os

# As the command line does: threads that wait must not spin beside other programs.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
