"""The whole model trained on for river flow alone, from its pretrained weights and, beside it, from random ones."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from watercli.baselines.context import Context, Floats
from watercli.baselines.method import Method
from watercli.baselines.untrained import Untrained
from watercli.config import Config, Tasks
from watercli.errors import RunError
from watercli.log import log
from watercli.run import directory
from watercli.run.checkpoint import Checkpoint
from watercli.run.simulator import simulate
from watercli.store import Store
from watercli.training.display import display
from watercli.training.engine import TorchEngine
from watercli.training.loop import Job, train
from watercli.training.stop import Stop
from watercli.training.weight_averaging import Average

SLOWER = 0.3
"""Peak learning rate of fine-tuning, as a share of pretraining's, so that it keeps what it has learnt."""
VALIDATIONS = 4


def simulate_fine_tuned(
    checkpoint: Checkpoint, store: Store, target: str, days: slice, steps: int, *, scratch: bool, device: str = "cpu"
) -> NDArray[np.float32]:
    """Train on simulations of ``target`` in the training period, and return the flow of ``days``, ``[C, days]``.

    Gauges that were held out in pretraining stay held out. The best of a few checkpoints on the validation period is
    used, as in pretraining. It does not go on where it was interrupted.

    Parameters
    ----------
    steps
        Of the size of pretraining's.
    scratch
        Begin with random weights, at pretraining's own learning rate.

    Raises
    ------
    RunError
        If it was asked to stop, or a loss is not finite.
    """
    config = _config(checkpoint.config, target, steps, scratch)
    log.info("%s for %d steps", "Training from scratch" if scratch else "Fine-tuning", steps)
    model = (Untrained.of(checkpoint) if scratch else checkpoint).model()
    with tempfile.TemporaryDirectory(prefix="watercli-") as folder, torch.random.fork_rng():
        run = Path(folder)
        job = Job(config, checkpoint.structure, store, checkpoint.scaling, run, 0)
        engine = TorchEngine(model, config.train, device)
        engine.average = Average.of(config.train)
        stop = Stop()
        try:
            train(job, engine, display(), stop)
        except RunError as error:
            if not stop.requested:
                raise
            # What training says of going on is not true of a folder that is gone.
            raise RunError(
                f"Stopped while training '{'from_scratch' if scratch else 'fine_tuned'}'; the same command begins it "
                "anew, and keeps what other methods have computed"
            ) from error
        best = directory.best_of(directory.all_checkpoints(run))
        return simulate(best, store, target, days, device=device)


def _config(config: Config, target: str, steps: int, scratch: bool) -> Config:
    every = max(steps // VALIDATIONS, 1)
    changes: dict[str, Any] = {
        "steps": steps,
        "tasks": Tasks(targets=(target,), simulation=1.0),
        "learning_rate": config.train.learning_rate * (1 if scratch else SLOWER),
        "warmup_steps": min(config.train.warmup_steps, steps // 5),
        "validate_every": every,
        "checkpoint_every": every,
        "keep_checkpoints": 1,
    }
    return config.model_copy(update={"train": config.train.model_copy(update=changes)})


def _simulate(context: Context, name: str, *, scratch: bool) -> Floats | None:
    steps = context.settings.fine_tune_steps
    simulated = context.cached(
        name,
        context.about_model(steps=steps),
        lambda days: simulate_fine_tuned(
            context.checkpoint, context.store, context.target, days, steps, scratch=scratch, device=context.device
        ),
    )
    return context.of_test(simulated)


FINE_TUNED = Method(
    name="fine_tuned",
    label="the model, fine-tuned",
    colour="#A33F00",
    saw=lambda context: (
        f"the same; {context.settings.fine_tune_steps} more steps on simulations of {context.target} alone"
    ),
    simulate=lambda context: _simulate(context, "fine_tuned", scratch=False),
    in_distribution=False,
    in_summary=False,
    on_request=True,
    slow=True,
)
FROM_SCRATCH = Method(
    name="from_scratch",
    label="the model, trained for this alone",
    colour="#F0A36B",
    line="--",
    saw=lambda context: (
        f"the same; {context.settings.fine_tune_steps} steps on simulations of {context.target} from "
        "random weights, no pretraining"
    ),
    simulate=lambda context: _simulate(context, "from_scratch", scratch=True),
    in_distribution=False,
    in_summary=False,
    on_request=True,
    slow=True,
)
