"""DeepSpeed as an engine: its configuration, and how its spread state becomes one that any engine reads."""

from __future__ import annotations

import contextlib
import logging
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from multimodal_mae.mae import ModelOutput, MultiModalMAE, Prediction
from safetensors import safe_open
from torch import Tensor

from watercli.config import Config, Train
from watercli.data.steps import Step
from watercli.errors import ConfigError
from watercli.training.engine import AUTOCAST, MOMENTS, Engine, State, load_adam, prepared
from watercli.training.optimiser import optimiser

GOVERNED = {
    "train_batch_size": "train.batch_size",
    "train_micro_batch_size_per_gpu": "train.batch_size and train.gradient_accumulation",
    "gradient_accumulation_steps": "train.gradient_accumulation",
    "gradient_clipping": "train.max_gradient_norm",
    "optimizer": "train.learning_rate, train.betas and train.weight_decay",
    "scheduler": "train.warmup_steps and train.min_learning_rate",
    "bf16": "train.precision",
    "fp16": "train.precision",
    "torch_autocast": "train.precision",
}
"""Keys of DeepSpeed's configuration, and the settings that govern them."""


class DeepSpeedEngine(Engine):
    """DeepSpeed, in one of several processes that its launcher started; on CPU they communicate through gloo."""

    def __init__(self, model: MultiModalMAE, config: Config) -> None:
        deepspeed = quiet_deepspeed()
        on_gpu = torch.cuda.is_available() and os.environ["DS_ACCELERATOR"] != "cpu"
        self.device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
        if on_gpu:
            torch.cuda.set_device(self.device)
        deepspeed.init_distributed(dist_backend="nccl" if on_gpu else "gloo")
        self.rank, self.world = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self._train = config.train
        self._engine, *_ = deepspeed.initialize(
            model=prepared(model, config.train),
            optimizer=optimiser(model, config.train),
            config=deepspeed_config(config.train, self.world),
        )
        self.model = self._engine.module

    def forward(self, step: Step) -> dict[str, Prediction]:
        """See `Engine`."""
        output: ModelOutput = self._engine(step.batch, step.masks)
        return output.predictions

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        # DeepSpeed takes the mean over processes and micro-batches; the parts' losses are to be added up.
        self._engine.backward(loss * self.world * self._train.gradient_accumulation)
        if not self._engine.is_gradient_accumulation_boundary():
            self._engine.step()

    def update(self, learning_rate: float) -> float:
        """See `Engine`."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = learning_rate
        norm = None
        if clips_itself(self._train):
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._train.max_gradient_norm)
        self._engine.step()
        norm = self._engine.get_global_grad_norm() if norm is None else norm
        return float(norm) if norm is not None else float("nan")

    def sum(self, values: Tensor) -> Tensor:
        """See `Engine`."""
        total = values.clone().to(self.device)
        torch.distributed.all_reduce(total)
        return total

    def gathered(self, *, change: bool = False) -> AbstractContextManager[object]:
        """See `Engine`."""
        if self._train.deepspeed.zero_stage < 3:
            return contextlib.nullcontext()
        from deepspeed.runtime.zero import GatheredParameters

        gathered: AbstractContextManager[object] = GatheredParameters(
            list(self.model.parameters()), modifier_rank=0 if change else None
        )
        return gathered

    def state(self) -> State | None:
        """See `Engine`."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        weights: dict[str, Tensor] = {}
        optimiser_state: dict[str, Tensor] = {}
        spread = self._train.deepspeed.zero_stage > 0
        adam = self._adam()
        self._link()
        for name, parameter in self.model.named_parameters():
            # One weight at a time, gathered everywhere and kept by rank 0 alone.
            weight = safe_get_full_fp32_param(parameter) if spread else parameter
            owner = self._partitions()[0] if spread else parameter
            moments = {
                key: safe_get_full_optimizer_state(parameter, key) if spread else adam.state[parameter][key]
                for key in MOMENTS
                if key in adam.state[owner]  # none before the first step that fp16 does not skip
            }
            if self.rank == 0:
                weights[name] = weight.detach().cpu().clone()
                optimiser_state |= {f"{key}/{name}": value.detach().cpu().clone() for key, value in moments.items()}
                if moments:
                    optimiser_state[f"step/{name}"] = adam.state[owner]["step"].detach().cpu().clone()
        scaler = self._scaler()
        if scaler is not None:
            optimiser_state |= {f"loss_scale/{key}": torch.tensor(value) for key, value in scaler.state_dict().items()}
        return State(weights, optimiser_state) if self.rank == 0 else None

    def load(self, file: Path) -> None:
        """See `Engine`."""
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        adam, scaler = self._adam(), self._scaler()
        if self._train.deepspeed.zero_stage == 0:
            load_adam(adam, self.model, file)
        with safe_open(file, framework="pt") as saved:
            saved_keys = set(saved.keys())
            if self._train.deepspeed.zero_stage > 0:
                step = max(
                    (saved.get_tensor(key) for key in saved_keys if key.startswith("step/")), default=torch.zeros(())
                )
                for part in self._partitions():
                    # Fused AdamW wants its count of steps where the weights are.
                    moments = {key: torch.zeros_like(part) for key in MOMENTS}
                    adam.state[part] = {"step": step.to(part.device, copy=True), **moments}
                self._link()
                for name, parameter in self.model.named_parameters():
                    for key in MOMENTS:
                        if f"{key}/{name}" in saved_keys:
                            moment = saved.get_tensor(f"{key}/{name}").to(self.device)
                            if self._train.deepspeed.zero_stage < 3:
                                safe_set_full_optimizer_state(parameter, moment, key)
                            else:
                                part = part_of_rank(moment, -(-moment.numel() // self.world), self.rank)
                                safe_set_local_optimizer_state(parameter, part, key)
            if scaler is not None and "loss_scale/scale" in saved_keys:
                scale = {key: saved.get_tensor(f"loss_scale/{key}").item() for key in scaler.state_dict()}
                scaler.load_state_dict(scale)

    def _adam(self) -> torch.optim.Optimizer:
        adam: torch.optim.Optimizer = self._engine.basic_optimizer
        return adam

    def _partitions(self) -> list[Tensor]:
        """Return the flat tensors that this process's part of the optimiser works on, with ZeRO."""
        zero = self._engine.optimizer
        parts: list[Tensor] = (
            zero.fp32_partitioned_groups_flat
            if self._train.deepspeed.zero_stage == 3
            else zero.single_partition_of_fp32_groups
        )
        return parts

    def _link(self) -> None:
        """Link weights to their moments, with ZeRO 1 and 2.

        DeepSpeed does so in its first step, but after the first of several parameter groups, when the others have none.
        """
        if self._train.deepspeed.zero_stage in (1, 2):
            self._engine.optimizer._hp_optimizer_states_linked = False
            self._engine.optimizer._lazy_init_hp_params_optimizer_state()

    def _scaler(self) -> Any:
        """Return what scales losses in fp16, None otherwise."""
        return self._engine.torch_autocast_z0_gradscaler or getattr(
            self._engine.optimizer, "torch_autocast_gradscaler", None
        )


def part_of_rank(tensor: Tensor, size: int, rank: int) -> Tensor:
    """Return a rank's flat part of a tensor that is spread in parts of ``size``, the last padded with zeros."""
    part = tensor.flatten()[rank * size : (rank + 1) * size]
    return torch.nn.functional.pad(part, (0, size - part.numel()))


def clips_itself(train: Train) -> bool:
    """Return whether gradients are unspread and unscaled between backward and update, so that torch can clip them."""
    return train.deepspeed.zero_stage == 0 and train.precision != "fp16"


def deepspeed_config(train: Train, world: int) -> dict[str, Any]:
    """Return DeepSpeed's own configuration: ours, and what ``train.deepspeed.config`` adds.

    Mixed precision is PyTorch's autocast, as in one process: weights, moments and reductions stay in fp32. DeepSpeed's
    own ``bf16`` rounds the weights and all that is computed, losses and norms too, to 8 bits of mantissa.

    Raises
    ------
    ConfigError
        If ``train.deepspeed.config`` contradicts a setting.
    """
    ours: dict[str, Any] = {
        "train_batch_size": train.batch_size,
        "train_micro_batch_size_per_gpu": train.batch_size // (world * train.gradient_accumulation),
        "gradient_accumulation_steps": train.gradient_accumulation,
        "gradient_clipping": train.max_gradient_norm,
        "zero_optimization": {"stage": train.deepspeed.zero_stage},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    if train.precision in AUTOCAST:
        name = str(AUTOCAST[train.precision]).removeprefix("torch.")
        # No module's gradients are sent in low precision.
        ours["torch_autocast"] = {"enabled": True, "dtype": name, "lower_precision_safe_modules": []}
    given = train.deepspeed.config or {}
    for key, settings in GOVERNED.items():
        if key in given and given[key] not in (ours.get(key), "auto", {"enabled": False}):
            raise ConfigError(
                f"Setting 'train.deepspeed.config' has {key}, which is not what {settings} says; leave it out"
            )
    zero = given.get("zero_optimization", {})
    stage = zero.get("stage", train.deepspeed.zero_stage)
    if stage != train.deepspeed.zero_stage:
        raise ConfigError(
            f"Setting 'train.deepspeed.config' has ZeRO stage {stage}, but train.deepspeed.zero_stage is "
            f"{train.deepspeed.zero_stage}; make them agree"
        )
    merged = ours | given | {key: ours[key] for key in GOVERNED if key in ours}
    merged["zero_optimization"] = zero | ours["zero_optimization"]
    if clips_itself(train):
        merged["gradient_clipping"] = 0.0
    return {key: value for key, value in merged.items() if key in ours or key not in GOVERNED}


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
