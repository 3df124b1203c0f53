"""The stages of dvc.yaml: each loads its data, calls the computation in its rooms, and writes the results."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moodlens.stages.shell import Stage

STAGES = (
    "inputs",
    "prompts",
    "generate",
    "reencode",
    "embed",
    "acoustics",
    "check",
    "signal",
    "probe",
    "null_text",
    "forks",
    "interchange",
    "temporal",
    "attention",
    "geometry",
    "relate",
    "decide",
    "sae",
    "latents",
    "report",
    "track",
)


def load_stage(name: str) -> "Stage":
    """Return the `run(params, root)` of a stage; only that stage is imported.

    It is in `stages/<name>.py`, or in `stages/<name>/stage.py` for a stage of several files.
    """
    module = f"moodlens.stages.{name}"
    package = find_spec(module)
    if package is not None and package.submodule_search_locations is not None:
        module = f"{module}.stage"
    return import_module(module).run
