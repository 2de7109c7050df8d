"""The same model before training: probes on both show what pretraining adds."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from multimodal_mae.mae import MultiModalMAE

from watercli.data.windows import derived_seed
from watercli.run.checkpoint import Checkpoint


@dataclass(frozen=True)
class Untrained(Checkpoint):
    """A checkpoint whose weights are drawn at random, from the run's seed, as they are before training."""

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Untrained:
        """Return the untrained twin of a checkpoint."""
        return cls(**{field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)})

    def load_weights(self, model: MultiModalMAE) -> None:
        """Draw the weights; the scales of the antecedent state are no weights, and stay those of the run."""
        super().load_weights(model)
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(self.config.seed, 6))
            model.init_weights()

    def fingerprint_of_weights(self) -> str:
        """Return the seed in place of a fingerprint."""
        return f"untrained, seed {self.config.seed}"
