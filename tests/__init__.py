"""Tests mirror the packages; like the command line, they do not spin beside other programs."""

from watercli.cli.threads import wait_briefly

wait_briefly()
