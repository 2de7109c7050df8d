"""What runs a step: plain torch in one process here, or DeepSpeed in several; the loop does not see which."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from multimodal_mae.layers import DecoderBlock, EncoderLayer, SelfBlock
from multimodal_mae.mae import ModelOutput, MultiModalMAE, Prediction
from safetensors import safe_open
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from watercli.config import Train
from watercli.data.steps import Step
from watercli.training.optimiser import optimiser
from watercli.training.weight_averaging import EVERY, PREFIX, Average

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What matrix products are computed in; fp32 needs no autocast."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's running means, as torch names them."""


class Engine(ABC):
    """A model, its optimiser, and where they live."""

    rank: int = 0
    world: int = 1
    device: torch.device
    model: MultiModalMAE
    average: Average | None = None
    """Of the weights; it is what is validated and saved."""

    @abstractmethod
    def forward(self, step: Step) -> dict[str, Prediction]:
        """Predict the targets of (a part of) a step."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a part's loss; the sum over parts and processes is the step's loss."""

    @abstractmethod
    def update(self, learning_rate: float) -> float:
        """Clip, move the weights, forget the gradients; return the gradient's norm before clipping."""

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes."""

    @abstractmethod
    def state(self) -> State | None:
        """Return the weights as they are trained, and the optimiser, on rank 0; every process must call it."""

    @abstractmethod
    def load(self, file: Path) -> None:
        """Take over the optimiser's part of a `State` from the safetensors file of any engine; before any step."""

    def gathered(self, *, change: bool = False) -> AbstractContextManager[object]:
        """Gather every weight on every process, within; with ``change``, rank 0's changes stay."""
        return nullcontext()

    def take_into_average(self, done: int) -> None:
        """Have the average, if there is one, take in the weights after step ``done``."""
        if self.average is not None and done % EVERY == 0:
            with self.gathered():
                self.average.update(self.model, done // EVERY)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the model work with its averaged weights, within."""
        if self.average is None or not self.average.values:
            yield
            return
        with self.gathered(change=True):
            self.average.exchange(self.model)
        try:
            yield
        finally:
            with self.gathered(change=True):
                self.average.exchange(self.model)

    def checkpoint(self) -> State | None:
        """Return what a checkpoint holds, on rank 0; every process must call it.

        Where weights are averaged, its weights are the average, and those to go on from stand beside the optimiser.
        What the model keeps untrained (persistent buffers) is part of the weights.
        """
        state = self.state()
        if state is None:
            return None
        trained = {name for name, _ in self.model.named_parameters()}
        buffers = {name: value.cpu().clone() for name, value in self.model.state_dict().items() if name not in trained}
        if self.average is None or not self.average.values:
            return State(state.weights | buffers, state.optimiser)
        beside = {f"{PREFIX}{name}": weight for name, weight in state.weights.items()}
        average = {name: mean.detach().cpu().clone() for name, mean in self.average.values.items()}
        return State(average | buffers, state.optimiser | beside)


@dataclass(frozen=True)
class State:
    """Weights and optimiser by the names of the weights, on the CPU, complete even where processes share them."""

    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    """``exp_avg/NAME``, ``exp_avg_sq/NAME`` and ``step/NAME`` of AdamW; Muon lacks the second.

    Also ``loss_scale/...`` of fp16, and where weights are averaged ``weights/NAME``, the weights as they are trained.
    """


class TorchEngine(Engine):
    """Plain torch, one process."""

    def __init__(self, model: MultiModalMAE, train: Train, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.model = prepared(model, train).to(self.device)
        self._train = train
        self._optimiser = optimiser(model, train)

    def forward(self, step: Step) -> dict[str, Prediction]:
        """See `Engine`."""
        dtype = AUTOCAST.get(self._train.precision)
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            output: ModelOutput = self.model(step.batch, step.masks)
        return output.predictions

    def backward(self, loss: Tensor) -> None:
        """See `Engine`."""
        loss.backward()

    def update(self, learning_rate: float) -> float:
        """See `Engine`."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._train.max_gradient_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        return float(norm)

    def sum(self, values: Tensor) -> Tensor:
        """See `Engine`."""
        return values

    def state(self) -> State:
        """See `Engine`."""
        weights = {name: weight.detach().cpu() for name, weight in self.model.named_parameters()}
        optimiser_state = {
            f"{key}/{name}": self._optimiser.state[parameter][key].cpu()
            for name, parameter in self.model.named_parameters()
            for key in (*MOMENTS, "step")
            if key in self._optimiser.state[parameter]
        }
        return State(weights, optimiser_state)

    def load(self, file: Path) -> None:
        """See `Engine`."""
        load_adam(self._optimiser, self.model, file)


def prepared(model: MultiModalMAE, train: Train) -> MultiModalMAE:
    """Return the model itself, its layers set to compute their activations anew in backward if training asks for it."""
    if train.activation_checkpointing:
        for layer in model.modules():
            if isinstance(layer, EncoderLayer | DecoderBlock | SelfBlock):
                layer.forward = functools.partial(checkpoint, layer.forward, use_reentrant=False)  # type: ignore[method-assign]
    return model


def load_adam(optimiser: torch.optim.Optimizer, model: MultiModalMAE, file: Path) -> None:
    """Give a torch AdamW over the model's own weights the state that `State` describes."""
    with safe_open(file, framework="pt") as saved:
        saved_keys = set(saved.keys())
        for name, parameter in model.named_parameters():
            if f"step/{name}" in saved_keys:
                optimiser.state[parameter] = {
                    key: saved.get_tensor(f"{key}/{name}").to(parameter.device)
                    for key in (*MOMENTS, "step")
                    if f"{key}/{name}" in saved_keys
                }


def load_trained(model: MultiModalMAE, file: Path) -> dict[str, Tensor]:
    """Put the weights that training goes on from into a model of averaged weights; return the average.

    ``file`` is the optimiser's. Without such weights in it nothing was averaged: the model stays as it is, and the
    dictionary is empty.
    """
    with safe_open(file, framework="pt") as saved:
        trained = {key.removeprefix(PREFIX) for key in saved.keys() if key.startswith(PREFIX)}  # noqa: SIM118
        if not trained:
            return {}
        average = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        model.load_state_dict({name: saved.get_tensor(PREFIX + name) for name in trained}, strict=False)
    return average
