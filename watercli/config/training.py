"""Pretraining."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from watercli.config.base import Fraction, LoggerName, Positive, Section, Strings, json_file, listed


class DeepSpeedSection(Section):
    """Settings of DeepSpeed, which ``--gpus`` and ``--processes`` start."""

    zero_stage: Literal[0, 1, 2, 3] = 0
    """ZeRO stage, what processes share: 0 nothing, 1 optimiser states, 2 also gradients, 3 also weights."""
    config: Annotated[dict[str, Any] | None, BeforeValidator(json_file)] = None
    """DeepSpeed's own configuration, for all that has no setting here: a JSON file, or its content; see
    ``docs/guide/pretraining.md``."""


class Tasks(Section):
    """Pretraining tasks, as shares of the training windows; the remaining windows mask all modalities at random."""

    targets: Strings = ("riverflow",)
    """Modalities that simulations and forecasts predict, one in each window."""
    simulation: Fraction = 0.0
    """The target is masked throughout, its past too; all other modalities are shown: a river without a gauge."""
    forecast: Fraction = 0.0
    """The target's last days are masked; all other modalities are shown, as if the weather were known."""
    forecast_without_forcing: Fraction = 0.0
    """The target's last days are masked, and so are all other modalities on these days."""
    spatial_masking: Fraction = 0.0
    """Tubes: patches and catchments of every modality are masked on all days, each by its mask ratio."""
    max_lead_time: Positive = 7
    """Longest lead time of a forecast, in days."""

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if self.targeted + self.spatial_masking > 1:
            raise ValueError("the shares add up to more than 1")
        return self

    @property
    def targeted(self) -> float:
        """Share of the windows that predict one modality."""
        return self.simulation + self.forecast + self.forecast_without_forcing


class HeldOutGauges(Section):
    """Gauges held out for prediction in ungauged basins: their series gives nothing to training or statistics."""

    target: str = "riverflow"
    """The series that is held out at these gauges."""
    folds: Annotated[int, Field(gt=1)] = 4
    """Number of folds by ``rank`` or ``region``."""
    by: str = "rank"
    """``rank``: a gauge's fold is its rank, by number, modulo the folds. ``region``: the gauges of a fold lie together,
    so that training has no neighbours of a held-out gauge. Otherwise the name of a group of
    ``recipe.catchments.groups`` or of a static attribute: each of its classes is a fold, in the order of their names
    (numbers by number)."""
    fold: Annotated[int, Field(ge=0)] | None = None
    """The fold that is held out, the first being 0."""
    gauges: Strings = ()
    """Gauge ids that are held out, in place of a fold."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.fold is None) == (not self.gauges):
            raise ValueError("give either fold or gauges")
        if self.by in ("rank", "region") and self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} must be below folds ({self.folds}); the first fold is 0")
        return self


class EvidenceHead(Section):
    """The evidence head, which corrects simulations by known flow and says how certain they are.

    It is fitted to the errors of the model once that is trained, and changes none of its weights. For its quantiles, a
    second model is trained briefly without some of the gauges, as errors are larger where no flow was seen.
    """

    target: str = "riverflow"
    """The series that it corrects."""
    steps: Positive = 2000
    """Steps of the correction."""
    quantile_steps: Positive = 1000
    """Steps of the quantiles."""
    withheld: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of the gauges that the second model does without."""
    withheld_steps: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Steps of the second model, as a share of ``train.steps``."""


class Finetune(Section):
    """Fine-tuning."""

    layers: Literal["all", "last"] = "all"
    """What fine-tuning changes. ``last``: the decoders and their feature maps; all encoders stay the parent's."""
    parent_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the parent in the weights that are validated and kept, which are a mean of its own and the trained ones;
    0.25 by ``watercli finetune``. The more, the better at gauges that neither saw, and the worse at those that
    fine-tuning sees. Needs ``train.weight_averaging``."""


class Train(Section):
    """Pretraining."""

    steps: Positive = 1000
    """Optimiser steps in all."""
    batch_size: Positive = 2
    """Windows in a step, over all processes."""
    catchments_per_window: Positive = 8
    """Catchments drawn for each window."""
    tasks: Tasks = Tasks()
    """Pretraining tasks."""
    held_out_gauges: HeldOutGauges | None = None
    """Gauges held out for prediction in ungauged basins; null for none."""
    attribute_noise_std: Annotated[float, Field(ge=0)] = 0.0
    """Standard deviation of noise added to the standardised attributes while training, drawn for each catchment and
    window. Without it a model of few gauges recognises them by their attributes, and does not generalise."""
    members: Positive = 1
    """Models of an ensemble, which are trained one after the other and differ in their seed. Simulations are the mean
    over them; embeddings are of the first."""
    evidence: EvidenceHead | None = None
    """The evidence head; null for none."""
    attribute_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability with which training takes each attribute of a catchment's window as missing, again each set of
    attributes that the same catchments of the store lack, all such sets at once, and all attributes at once. For models
    that meet catchments of which little is known."""
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Peak, after the warm-up."""
    min_learning_rate: Annotated[float, Field(ge=0)] = 1e-5
    """Where the cosine ends."""
    warmup_steps: Annotated[int, Field(ge=0)] = 50
    """Steps of the linear warm-up."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """``muon`` moves the matrices between hidden layers along orthogonalised momentum, and all other weights as AdamW
    does. It learns faster, but needs matrices that are not spread over processes: ``train.deepspeed.zero_stage: 0``."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's; norms, biases, positions and mask tokens do not decay."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.95)
    """AdamW's decay of the first and second moments."""
    max_gradient_norm: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient."""
    weight_averaging: Annotated[float, Field(ge=0)] | None = None
    """Power p of an average of the weights over all steps, in which step t counts as t**p. The average is validated,
    saved and used; training itself does not change. null: the weights of the last step."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the matrix products; fp16 needs ``--gpus``."""
    gradient_accumulation: Positive = 1
    """Micro-batches that a step is cut into, to save memory."""
    activation_checkpointing: bool = False
    """True: a layer's activations are computed anew in the backward pass instead of being kept: less memory, about a
    third more time, the same losses."""
    validate_every: Positive = 100
    """Steps between two validations."""
    validation_windows: Positive = 16
    """Windows of the validation period that are scored, spread over it; windows and masks are always the same."""
    validation_catchments: Annotated[int, Field(ge=0)] = 64
    """Catchments, at most, whose series are simulated over the validation period, spread over those of training. The
    medians of their NSE and KGE are logged, and the best checkpoint is that of the highest median NSE. 0: none, and the
    best checkpoint is that of the lowest validation loss."""
    validation_years: Positive = 3
    """Years at the end of the validation period, at most, over which these series are simulated."""
    checkpoint_every: Positive = 100
    """Steps between two checkpoints."""
    keep_checkpoints: Positive = 2
    """Newest checkpoints to keep, beside the best."""
    log_every: Positive = 10
    """Steps between two rows of ``metrics.jsonl``."""
    loggers: Annotated[tuple[LoggerName, ...], BeforeValidator(listed)] = ("tensorboard",)
    """Loggers that also receive the rows of ``metrics.jsonl``: ``tensorboard``, ``wandb``, ``mlflow``; ``[]``: none."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that read windows ahead, each with its own copy of the grids that are held in memory; 0 reads in a
    thread of the training process."""
    prefetch: Annotated[int, Field(ge=0)] = 2
    """Steps that are read ahead, by each worker or by the thread; 0, without workers, reads when a step begins."""
    grid_cache_gib: Annotated[float, Field(ge=0)] = 2.0
    """Grids whose land patches need no more than this are decoded into memory once. Larger ones are decoded once into
    files, which all processes and later runs read, in ``STORE.cache`` beside the store, or in a folder of
    ``WATERCLI_CACHE``."""
    deepspeed: DeepSpeedSection = DeepSpeedSection()
    """For ``--gpus`` and ``--processes``."""

    @model_validator(mode="after")
    def _unspread_matrices(self) -> Self:
        if self.optimiser == "muon" and self.deepspeed.zero_stage > 0:
            raise ValueError(
                f"optimiser muon cannot work on matrices that deepspeed.zero_stage {self.deepspeed.zero_stage} spreads "
                "over processes; set zero_stage to 0, or optimiser to adamw"
            )
        return self
