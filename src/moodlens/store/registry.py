"""Trained SAEs in MLflow's model registry: one version per training, and an alias for the champion.

A version is a models-from-code pyfunc: the file `served_sae.py` with the SAELens folder as its artifact,
without a pickle. Loading it needs mlflow, numpy and safetensors, but not this package. A tag holds the hash
of its weights; weights that are registered already get no second version.
"""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodlens.store.logged_result import LoggedResult
from moodlens.store.receipts import file_sha256
from moodlens.store.result import Result
from moodlens.store.run_record import locked_outputs
from moodlens.store.sae_card import card_of
from moodlens.store.tables import read_metrics

if TYPE_CHECKING:
    from mlflow import MlflowClient

ALIAS = "champion"
PACKAGES = ("mlflow", "numpy", "safetensors")
"""Requirements of a registered SAE."""
WEIGHTS = "sae_weights.safetensors"
"""`store.sae_files.WEIGHTS`, without that module's import of torch."""
CONTENT = "weights.sha256"
"""Tag of a version: hash of its weights file."""
GATE = "gate"
"""Tag of a version: verdict of the gate of stage `latents`, `passed` or `failed`."""
MODELS = "models/sae"
FIGURES = ("n_selective", "stable_70")
"""Figures of stage `latents` that a version carries as tags beside its FVU."""


@dataclass(frozen=True)
class SaeVersion:
    """Which version of the registry holds an SAE; good in one store, and checked there by `find_version`."""

    site: str
    model: str  # name in the registry
    version: str
    content: str  # SHA-256 of the weights


@dataclass(frozen=True)
class Candidate:
    """An SAE to register."""

    model_id: str  # music model whose activations it was trained on
    site: str
    folder: Path  # in SAELens format
    d_in: int
    d_sae: int
    run_id: str  # run that the version belongs to
    card: str  # Markdown; becomes the description of the version and an artifact of the run
    tags: Mapping[str, str]  # of a new version


def model_name(model_id: str, site: str) -> str:
    """Return the registry's name for the SAEs of a site of a model; "/" and ":" are not allowed in it.

    >>> model_name("facebook/musicgen-small", "residual.3/uncond")
    'moodlens-sae-musicgen-small-residual.3-uncond'
    """
    return re.sub(r"[/:]+", "-", f"moodlens-sae-{model_id.rstrip('/').rpartition('/')[2]}-{site}")


def name_in_store(client: "MlflowClient", model_id: str, site: str) -> str:
    """Return `model_name`, with a hash of `model_id` behind it where another model has that name there.

    Models of two owners may share the last part of their ids, and a server is shared: without the hash, the
    alias of one would move to an SAE of the other.
    """
    name = model_name(model_id, site)
    found = client.search_registered_models(f"name = '{name}'")
    if all(entry.tags.get("model.id") == model_id for entry in found):
        return name
    return f"{name}-{sha256(model_id.encode()).hexdigest()[:8]}"


def register_saes(
    client: "MlflowClient", uri: str, root: Path, result: Result, logged: LoggedResult
) -> list[SaeVersion]:
    """Register the chosen SAE of every site, judge it by the gate of stage `latents`; return the versions.

    Args:
        client: of the store.
        uri: of the same store.
        root: workspace.
        result: its finished run.
        logged: that run in the store; the version belongs to the run of its site.
    """
    record, trained = result.of("sae"), _metrics(root, "sae")
    of_sites = _metrics(root, "latents").get("sites", {})
    if record is None:
        return []
    lineage = {f"input.{entry.path}": entry.md5 for entry in record.inputs}
    outputs = locked_outputs(root, "sae")
    lineage |= {f"output.{path}": outputs[path] for path in (MODELS,) if path in outputs}
    versions = []
    for site, folder, figures in _chosen(root, trained):
        run_id = logged.sites.get(site, logged.stages["sae"])
        of_latents = of_sites.get(site, {})
        tags = {
            "site": site,
            **{f"model.{key}": value for key, value in result.model.items() if value},
            "git.revision": record.revision,
            "run_id": run_id,
            "result.run_id": logged.run_id,
            **lineage,
        }
        card = card_of(site, figures, of_latents, trained, record.params, tags)
        widths = int(figures["d_in"]), int(figures["d_sae"])
        candidate = Candidate(result.model["id"], site, folder, *widths, run_id, card, tags)
        version = register_sae(client, uri, candidate)
        client.set_terminated(run_id, "FINISHED", record.ended_ms)  # MLflow has set its own time
        if of_latents:
            values = {"fvu": figures["fvu"], **{key: of_latents.get(key, 0.0) for key in FIGURES}}
            judge(client, version, bool(of_latents["champion_gate"]), values)
        versions.append(version)
    return versions


def register_sae(client: "MlflowClient", uri: str, sae: Candidate) -> SaeVersion:
    """Register an SAE as a new version, or return the version that already holds its weights.

    The run of the SAE gets a tag that names the version. `uri` is that of the client's store.
    """
    name, content = name_in_store(client, sae.model_id, sae.site), file_sha256(sae.folder / WEIGHTS)
    if not client.search_registered_models(f"name = '{name}'"):
        about = f"SAEs of {sae.site} of {sae.model_id}. Alias `{ALIAS}`: the latest that passed its gate."
        client.create_registered_model(name, {"site": sae.site, "model.id": sae.model_id}, about)
    version = find_version(client, name, content)
    if version is None:
        client.log_text(sae.run_id, sae.card, "model_card.md")
        tags = {**sae.tags, CONTENT: content, GATE: "not yet judged"}
        with _tracked(uri):
            source = _log_model(sae)
            created = client.create_model_version(name, source, sae.run_id, tags, description=sae.card)
        version = str(created.version)
    client.set_tag(sae.run_id, "sae.version", f"{name}/{version}")
    return SaeVersion(sae.site, name, version, content)


def judge(client: "MlflowClient", entry: SaeVersion, passed: bool, figures: Mapping[str, float]) -> bool:
    """Tag a version with the verdict and figures of its gate; a version that passed becomes the champion.

    A version that did not pass leaves the alias unchanged. Returns whether the alias points at this version.
    """
    tags = {GATE: "passed" if passed else "failed", **{key: f"{value:.6g}" for key, value in figures.items()}}
    for key, value in tags.items():
        client.set_model_version_tag(entry.model, entry.version, key, value)
    if passed:
        client.set_registered_model_alias(entry.model, ALIAS, entry.version)
    return champion(client, entry.model) == entry.version


def champion(client: "MlflowClient", model: str) -> str | None:
    """Return the version that the alias points at, or None."""
    aliases: Any = client.get_registered_model(model).aliases
    return str(aliases[ALIAS]) if ALIAS in aliases else None


def registered_saes(client: "MlflowClient", root: Path, model_id: str) -> list[SaeVersion]:
    """Return the versions of this store that hold the chosen SAEs of this workspace."""
    versions = []
    for site, folder, _ in _chosen(root, _metrics(root, "sae")):
        name, content = name_in_store(client, model_id, site), file_sha256(folder / WEIGHTS)
        version = find_version(client, name, content)
        if version is not None:
            versions.append(SaeVersion(site, name, version, content))
    return versions


def find_version(client: "MlflowClient", model: str, content: str) -> str | None:
    """Return the version of a registered model that has these weights, None if there is none."""
    versions = client.search_model_versions(f"name = '{model}'")
    return next((str(entry.version) for entry in versions if entry.tags.get(CONTENT) == content), None)


def _chosen(root: Path, trained: Mapping[str, Any]) -> Iterator[tuple[str, Path, Mapping[str, Any]]]:
    """Yield site, folder of the chosen SAE and its figures; nothing if no SAE was trained."""
    for site, figures in trained.get("sites", {}).items():
        yield site, root / "models" / "sae" / site.replace("/", "-") / figures["chosen"], figures


def _metrics(root: Path, name: str) -> dict[str, Any]:
    path = root / "metrics" / f"{name}.json"
    return read_metrics(path) if path.is_file() else {}


@contextmanager
def _tracked(uri: str) -> Iterator[None]:
    """Set MLflow's global URI, which parts of MLflow read whatever the client, and restore it afterwards."""
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # pyright: ignore[reportArgumentType] (None unsets it)


def _log_model(sae: Candidate) -> str:
    """Log the pyfunc with signature and input example, and return its URI."""
    from importlib.metadata import version

    import mlflow
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from moodlens.store import served_sae

    # No schema of inputs: MLflow would refuse every precision but one before `ServedSae` could cast it, with
    # an error message that contains all the data. `ServedSae` checks width and values.
    outputs = Schema([TensorSpec(np.dtype(np.float32), (-1, sae.d_sae))])
    signature = ModelSignature(outputs=outputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from mlflow about its own type hints and schemas
        mlflow.start_run(run_id=sae.run_id)
        try:
            logged = mlflow.pyfunc.log_model(
                name="sae",
                python_model=str(served_sae.__file__),
                artifacts={"sae": str(sae.folder)},
                signature=signature,
                input_example=np.zeros((2, sae.d_in), dtype=np.float32),
                pip_requirements=[f"{name}=={version(name)}" for name in PACKAGES],
            )
        finally:
            mlflow.end_run()
    return logged.model_uri
