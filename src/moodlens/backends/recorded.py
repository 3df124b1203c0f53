"""The weights that the clips of a workspace were made with, and the refusal of others.

A model folder can change between two stages, or between two runs of one stage. Every stage that loads the
model beside the clips asks here first.
"""

from collections.abc import Mapping
from pathlib import Path

from moodlens.base.errors import ContractError, must

MANIFEST = Path("data") / "activations" / "manifest.json"
CLIPS = "the clips in data/"
EARLIER = "the other tasks of this stage"


def recorded_weights(root: Path) -> str:
    """Return the SHA-256 of the model that the clips of a workspace were made with.

    Raises:
        ContractError: the manifest of the clips is absent, damaged, or names no model.
    """
    from moodlens.store.tables import read_metrics  # brings pandas, which stage `inputs` does not need

    model = read_metrics(root / MANIFEST).get("model")
    digest = model.get("weights_sha256") if isinstance(model, Mapping) else None
    if not isinstance(digest, str) or not digest:
        advice = "Run `dvc repro generate`"
        raise ContractError(must(str(MANIFEST), "name the model of the clips", "none", next_step=advice))
    return digest


def require_weights(found: str, recorded: str, made: str = CLIPS) -> None:
    """Return if the weights of a model are those that something was made with.

    Args:
        found: SHA-256 of the model that `model.id` names now.
        recorded: SHA-256 that was recorded.
        made: what was made with the recorded weights, for the error.

    Raises:
        ContractError: they are others.
    """
    if found != recorded:
        rule = f"be the model that made {made}, sha256 {recorded[:12]}"
        advice = "Run `dvc repro`, which makes them again with the new weights, or restore the old ones"
        got = f"sha256 {found[:12]}"
        raise ContractError(must("model.id", rule, got, where="params.yaml", next_step=advice))
