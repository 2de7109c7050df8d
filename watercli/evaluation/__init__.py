"""Says how good a run is: masked reconstruction and river flow on the test period, beside baselines."""

from watercli.evaluation.protocol import evaluate

__all__ = ["evaluate"]
