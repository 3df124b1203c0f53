"""Thin shells: params -> load -> core -> write. One name everywhere: stage = module = params section."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moodlens.stages.shell import Stage

STAGES = (
    "prompts",
    "generate",
    "reencode",
    "embed",
    "acoustics",
    "check",
    "signal",
    "probe",
    "state",
    "temporal",
    "attention",
    "geometry",
    "relate",
    "decide",
    "sae",
    "latents",
    "report",
)


def load_stage(name: str) -> "Stage":
    """Return the `run(params, root)` of a stage; only that stage's module is imported."""
    return import_module(f"moodlens.stages.{name}").run
