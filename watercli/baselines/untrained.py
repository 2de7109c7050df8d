"""The same model without training: what its embeddings are worth tells what pretraining has added."""

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
        return cls(**{one.name: getattr(checkpoint, one.name) for one in fields(checkpoint)})

    def load_weights(self, model: MultiModalMAE) -> None:
        """Draw the weights; what scales the memory's states is no weight, and is that of the run."""
        super().load_weights(model)
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(self.config.seed, 6))
            model.init_weights()

    def fingerprint_of_weights(self) -> str:
        """Return what stands for the fingerprint."""
        return f"untrained, seed {self.config.seed}"
