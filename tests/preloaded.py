"""What `tests.forked` imports once: all that a command, and a process of several that train, would import."""

import os

os.environ["DS_ACCELERATOR"] = "cpu"  # DeepSpeed reads it when it is imported

import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401  (imported with the first engine)
import torch._dynamo  # noqa: F401  (torch.optim imports it with its first optimiser)

import watercli.api.run
import watercli.cli.main
import watercli.inference.simulate
import watercli.preparation.prepare
import watercli.training.pretrain
import watercli.training.worker  # noqa: F401
from watercli.training.deepspeed_engine import quiet_deepspeed

quiet_deepspeed()
