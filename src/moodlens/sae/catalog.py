"""The architectures by name: config from settings, SAE from a config, untrained SAE from a seed."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from moodlens.base.errors import UsageError, must, nearest
from moodlens.base.seeding import seed_for
from moodlens.sae.batchtopk import BatchTopKConfig, BatchTopKSae
from moodlens.sae.gated import GatedConfig, GatedSae
from moodlens.sae.jumprelu import JumpReluConfig, JumpReluSae
from moodlens.sae.matryoshka import MatryoshkaConfig, MatryoshkaSae
from moodlens.sae.model import Sae, SaeConfig
from moodlens.sae.relu import ReluConfig, ReluSae
from moodlens.sae.topk import TopKConfig, TopKSae

ARCHITECTURES: dict[str, tuple[type[SaeConfig], type[Sae]]] = {
    "relu": (ReluConfig, ReluSae),
    "topk": (TopKConfig, TopKSae),
    "batchtopk": (BatchTopKConfig, BatchTopKSae),
    "matryoshka": (MatryoshkaConfig, MatryoshkaSae),
    "jumprelu": (JumpReluConfig, JumpReluSae),
    "gated": (GatedConfig, GatedSae),
}


def config_for(architecture: str, settings: Mapping[str, Any]) -> SaeConfig:
    """Return the config of an architecture.

    >>> config_for("topk", {"d_in": 8, "d_sae": 32, "k": 4}).d_sae
    32

    Raises:
        UsageError: the architecture or a setting is unknown, missing or out of bounds.
    """
    if architecture not in ARCHITECTURES:
        advice = nearest(architecture, list(ARCHITECTURES))
        raise UsageError(must("architecture", "be a known one", architecture, next_step=advice))
    kind = ARCHITECTURES[architecture][0]
    valid = [spec.name for spec in fields(kind)]
    for name in settings:
        if name not in valid:
            thing = f"setting {name}"
            rule = f"be one that {architecture} has"
            raise UsageError(must(thing, rule, settings[name], next_step=nearest(name, valid)))
    for name in ("d_in", "d_sae"):
        if name not in settings:
            raise UsageError(must(f"setting {name}", "be present", "nothing", next_step=f"Add {name}"))
    return kind(**settings)


def sae_for(config: SaeConfig) -> Sae:
    """Return an SAE of this config with all weights zero."""
    for kind, architecture in ARCHITECTURES.values():
        if type(config) is kind:
            return architecture(config)
    raise AssertionError(f"no architecture for {type(config).__name__}")


def new_sae(config: SaeConfig, seed: int) -> Sae:
    """Return an untrained SAE: decoder rows uniform on the sphere, W_enc = W_dec', biases zero.

    The result is a function of (config, seed). Source of the tied initialization: Gao et al. 2024,
    arXiv 2406.04093, appendix A.1.
    """
    sae = sae_for(config)
    generator = torch.Generator().manual_seed(seed_for("sae weights", seed))
    with torch.no_grad():
        sae.W_dec.normal_(generator=generator)
        sae.project()
        sae.W_enc.copy_(sae.W_dec.t())
    return sae
