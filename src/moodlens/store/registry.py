"""Trained SAEs in MLflow's model registry: one version per training, and an alias for the champion.

A version is a models-from-code pyfunc: the file `served_sae.py` with the SAELens folder as its artifact,
without a pickle. Loading it needs mlflow, numpy and safetensors, but not this package.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodlens.store.tracking import Run, connect, log_to, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
PACKAGES = ("mlflow", "numpy", "safetensors")
"""Requirements of a registered SAE."""


@dataclass(frozen=True)
class Registered:
    """Location of a registered SAE."""

    experiment: str
    run_id: str
    model: str  # name in the registry
    version: str


def model_name(site: str) -> str:
    """Return the registry's name for the SAEs of a site, in which "/" is not allowed.

    >>> model_name("residual.3/uncond")
    'moodlens-sae-residual.3-uncond'
    """
    return f"moodlens-sae-{site.replace('/', '-')}"


def register_sae(root: Path, site: str, folder: Path, run: Run, card: str) -> Registered:
    """Log `run` to experiment `moodlens/sae/<site>` and register the SAE in `folder` as a new version.

    Args:
        root: workspace.
        site: site that the SAE was trained on.
        folder: the SAE in SAELens format.
        run: parameters, figures and curves; gets dataset lineage like every run.
        card: model card in Markdown; becomes the description of the version and an artifact.
    """
    logged = log_to(root, f"moodlens/sae/{site}", "sae", run)
    client = connect(root)
    client.log_text(logged["run_id"], card, "model_card.md")
    name = model_name(site)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=f"Sparse autoencoders of {site}")
    with _tracked(tracking_uri(root)):
        source = _log_model(logged["run_id"], folder, run)
        version = client.create_model_version(name, source, logged["run_id"], description=card)
    for key, value in {"site": site, "gate": "not yet judged", **run.tags}.items():
        client.set_model_version_tag(name, version.version, key, value)
    return Registered(logged["experiment"], logged["run_id"], name, str(version.version))


def judge(root: Path, model: str, version: str, passed: bool, figures: Mapping[str, float]) -> bool:
    """Tag a version with the verdict and figures of its gate; a version that passed becomes the champion.

    A version that did not pass leaves the alias unchanged. Returns whether the alias points at this version.
    """
    client = connect(root)
    for key, value in {"gate": "passed" if passed else "failed", **figures}.items():
        client.set_model_version_tag(
            model, version, key, f"{value:.6g}" if not isinstance(value, str) else value
        )
    if passed:
        client.set_registered_model_alias(model, ALIAS, version)
    return champion(client, model) == version


def champion(client: "MlflowClient", model: str) -> str | None:
    """Return the version that the alias points at, or None."""
    aliases: Any = client.get_registered_model(model).aliases
    return str(aliases[ALIAS]) if ALIAS in aliases else None


@contextmanager
def _tracked(uri: str) -> Iterator[None]:
    """Set MLflow's global URI, which parts of MLflow read whatever the client, and restore it afterwards."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # pyright: ignore[reportArgumentType] (None unsets it)


def _log_model(run_id: str, folder: Path, run: Run) -> str:
    """Log the pyfunc with signature and input example, and return its URI."""
    from importlib.metadata import version

    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from moodlens.store import served_sae

    d_in, d_sae = (int(run.metrics[name]) for name in ("d_in", "d_sae"))
    real = np.dtype(np.float32)
    # `ServedSae` checks the width: MLflow's own error message contains all the data
    signature = ModelSignature(
        inputs=Schema([TensorSpec(real, (-1, -1))]), outputs=Schema([TensorSpec(real, (-1, d_sae))])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from mlflow about its own type hints and schemas
        mlflow.start_run(run_id=run_id)
        try:
            logged = mlflow.pyfunc.log_model(
                name="sae",
                python_model=str(served_sae.__file__),
                artifacts={"sae": str(folder)},
                signature=signature,
                input_example=np.zeros((2, d_in), dtype=np.float32),
                pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
            )
        finally:
            mlflow.end_run()
    return logged.model_uri
