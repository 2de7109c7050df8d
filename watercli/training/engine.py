"""What runs a step: plain torch in one process, or DeepSpeed in several; the loop does not see which."""

from __future__ import annotations

import contextlib
import logging
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.mae import MultiModalMAE, Prediction
from watercli.config import Config, Train
from watercli.data.dataset import Step
from watercli.errors import RunError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Engine(ABC):
    """A model, its optimiser, and where they live."""

    rank: int = 0
    world: int = 1
    device: torch.device
    model: MultiModalMAE

    @abstractmethod
    def forward(self, step: Step) -> dict[str, Prediction]:
        """Predict the targets of (a part of) a step."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss whose sum over parts and processes is the step's loss."""

    @abstractmethod
    def update(self, learning_rate: float) -> float:
        """Clip, move the weights, forget the gradients; return the gradient's norm before clipping."""

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""

    @abstractmethod
    def save(self, folder: Path) -> dict[str, Tensor] | None:
        """Write what is needed to resume; return the whole model's weights on rank 0."""

    @abstractmethod
    def load(self, folder: Path) -> None:
        """Read what `save` wrote, weights included."""


def optimiser(model: MultiModalMAE, train: Train) -> torch.optim.AdamW:
    """Return AdamW (fused); norms, biases, positions and mask tokens do not decay."""
    decayed: list[torch.nn.Parameter] = []
    free: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        plain = parameter.ndim < 2 or "position" in name
        (free if plain else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": train.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=train.learning_rate, betas=train.betas, fused=True)


class TorchEngine(Engine):
    """Plain torch, one process."""

    def __init__(self, model: MultiModalMAE, train: Train) -> None:
        self.device = torch.device("cpu")
        self.model = model
        self._train = train
        self._optimiser = optimiser(model, train)

    def forward(self, step: Step) -> dict[str, Prediction]:
        """See `Engine`."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self._train.precision == "bf16"):
            predictions: dict[str, Prediction] = self.model(step.batch, step.masks)
        return predictions

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        loss.backward()

    def update(self, learning_rate: float) -> float:
        """See `Engine`."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._train.clip_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return float(norm)

    def sum(self, values: Tensor) -> Tensor:
        """See `Engine`."""
        return values

    def save(self, folder: Path) -> dict[str, Tensor]:
        """See `Engine`."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {"model": self.model.state_dict(), "optimiser": self._optimiser.state_dict()}
        torch.save(state, folder / "torch.pt")
        return state["model"]

    def load(self, folder: Path) -> None:
        """See `Engine`."""
        file = folder / "torch.pt"
        if not file.is_file():
            raise RunError(f"{file} is missing: the run was trained by DeepSpeed; resume it with the same --processes")
        state = torch.load(file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])


class DeepSpeedEngine(Engine):
    """DeepSpeed, one of several processes that its launcher started; on CPU they talk through gloo."""

    def __init__(self, model: MultiModalMAE, config: Config) -> None:
        deepspeed = quiet_deepspeed()
        on_gpu = torch.cuda.is_available()
        deepspeed.init_distributed(dist_backend="nccl" if on_gpu else "gloo")
        self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
        train = config.train
        self._engine, *_ = deepspeed.initialize(
            model=model, optimizer=optimiser(model, train), config=deepspeed_config(train, self.world)
        )
        self.model = self._engine.module
        self._accumulate = train.accumulate

    def forward(self, step: Step) -> dict[str, Prediction]:
        """See `Engine`."""
        predictions: dict[str, Prediction] = self._engine(step.batch, step.masks)
        return predictions

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        # DeepSpeed takes the mean over processes and micro-batches; the parts' losses are to be added up.
        self._engine.backward(loss * self.world * self._accumulate)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()

    def update(self, learning_rate: float) -> float:
        """See `Engine`."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        norm = self._engine.get_global_grad_norm()
        return float(norm) if norm is not None else float("nan")

    def sum(self, values: Tensor) -> Tensor:
        """See `Engine`."""
        total = values.clone().to(self.device)
        torch.distributed.all_reduce(total)
        return total

    def save(self, folder: Path) -> dict[str, Tensor] | None:
        """See `Engine`."""
        self._engine.save_checkpoint(str(folder), tag="state")
        if self._engine.zero_optimization_stage() == 3:
            state: dict[str, Tensor] | None = self._engine._zero3_consolidated_16bit_state_dict()
            return state
        return self.model.state_dict() if self.rank == 0 else None

    def load(self, folder: Path) -> None:
        """See `Engine`."""
        try:
            path, _ = self._engine.load_checkpoint(str(folder), tag="state")
        except Exception as error:
            raise RunError(
                f"DeepSpeed cannot load {folder}: resume with the number of processes and the ZeRO stage that saved it"
            ) from error
        if path is None:
            raise RunError(f"{folder} holds no DeepSpeed state: resume without --gpus and --processes")


def deepspeed_config(train: Train, world: int) -> dict[str, Any]:
    """Return DeepSpeed's own configuration."""
    return {
        "train_batch_size": train.windows,
        "train_micro_batch_size_per_gpu": train.windows // (world * train.accumulate),
        "gradient_accumulation_steps": train.accumulate,
        "gradient_clipping": train.clip_norm,
        "zero_optimization": {
            "stage": train.deepspeed.zero_stage,
            "stage3_gather_16bit_weights_on_model_save": True,
        },
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": train.precision == "bf16"},
        "fp16": {"enabled": train.precision == "fp16"},
        "steps_per_print": 10**9,
    }


def quiet_deepspeed() -> Any:
    """Import DeepSpeed without its wall of text, and without compiling an operator for a minute on CPU."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(None):
        import deepspeed
        import deepspeed.ops
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed
