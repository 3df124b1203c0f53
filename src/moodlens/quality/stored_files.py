"""Facts measured from the stored files themselves, because a table may claim what a file does not hold."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.errors import ContractError, must
from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.tensors import ENCODERS, shard_name
from moodlens.store.audio_files import read_waveform
from moodlens.store.shards import read_shard, shard_metadata, shard_names
from moodlens.store.tables import read_metrics, values

MANIFEST = "data/activations/manifest.json"
REGENERATE = "Run `dvc repro generate` to write it again"
READABLE, MISSING, UNREADABLE = "readable", "missing", "unreadable"


def made_with(data: Path) -> ModelInfo:
    """Return the model that the clips were generated with.

    Raises:
        ContractError: data/activations/manifest.json is absent, damaged or without a model.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(ModelInfo).validate_python(_of_manifest(data, "model"), extra="forbid")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        got = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise ContractError(must(MANIFEST, "describe the model", got, next_step=REGENERATE)) from None


def _of_manifest(data: Path, part: str) -> dict[str, Any]:
    """Return a part of the manifest of generation.

    Raises:
        ContractError: the manifest is absent or damaged, or has no such part.
    """
    found = read_metrics(data / "activations" / "manifest.json").get(part)
    if not isinstance(found, dict):
        got = type(found).__name__ if found is not None else "none"
        raise ContractError(must(MANIFEST, f"hold the mapping '{part}'", got, next_step=REGENERATE))
    return found


def audio_files(clips: pd.DataFrame, data: Path, advance: Callable[[], None]) -> pd.DataFrame:
    """Return one row per clip: clip_id, state, file_rate_hz, file_duration_s, file_rms, file_finite_fraction.

    Every file is decoded to its end. The numbers of a file that cannot be decoded are NaN.

    Args:
        clips: table CLIPS.
        data: folder that audio_path is relative to.
        advance: called after each file.
    """
    rows = []
    for clip_id, name in zip(values(clips, "clip_id"), values(clips, "audio_path"), strict=True):
        rows.append({"clip_id": clip_id, **_audio_file(data / name)})
        advance()
    numbers = ["file_rate_hz", "file_duration_s", "file_rms", "file_finite_fraction"]
    frame = pd.DataFrame(rows, columns=["clip_id", "state", *numbers])
    return frame.astype({"clip_id": "str", "state": "str", **dict.fromkeys(numbers, "float64")})


def _audio_file(path: Path) -> dict[str, object]:
    if not path.is_file():
        return {"state": MISSING}
    try:
        waveform, rate = read_waveform(path)
    except ContractError:
        return {"state": UNREADABLE}
    finite = np.isfinite(waveform)
    samples = np.where(finite, waveform, 0).astype(np.float64)
    return {
        "state": READABLE,
        "file_rate_hz": float(rate),
        "file_duration_s": len(waveform) / rate,
        "file_rms": float(np.sqrt(np.mean(samples**2))) if len(waveform) else 0.0,
        "file_finite_fraction": float(finite.mean()) if len(waveform) else 0.0,
    }


def shard_files(clips: pd.DataFrame, data: Path) -> pd.DataFrame:
    """Return one row per file of codes, activations and summaries that the clips need: file, state.

    With generate.pooled_only no activations are expected. A file shorter than its header says is unreadable.
    Its values are not read.
    """
    pooled_only = _of_manifest(data, "capture").get("pooled_only")
    if not isinstance(pooled_only, bool):
        rule = "say whether steps are stored (capture.pooled_only)"
        raise ContractError(must(MANIFEST, rule, pooled_only, next_step=REGENERATE))
    kinds = ("summary",) if pooled_only else ("shard", "summary")
    names = []
    for shard in sorted(set(values(clips, "shard"))):
        names.append(f"codes/{shard_name('shard', shard)}")
        names += [f"activations/{shard_name(kind, shard)}" for kind in kinds]
    return _states(names, data)


def token_variety(clips: pd.DataFrame, data: Path) -> pd.DataFrame:
    """Return one row per clip: clip_id, distinct_frames, the share of its frames that differ from each other.

    A frame is the tokens of all codebooks at one time. The share is 0 where the tokens cannot be read; the
    view of the files says why.
    """
    share_of: dict[tuple[int, int], float] = {}
    for shard in sorted(set(values(clips, "shard"))):
        try:
            codes = read_shard(data / "codes" / shard_name("shard", shard), ["codes"])["codes"]
        except ContractError:
            continue
        for row, frames in enumerate(codes):
            share_of[shard, row] = len(np.unique(frames, axis=1).T) / max(1, frames.shape[1])
    places = zip(values(clips, "shard"), values(clips, "row"), strict=True)
    shares = [share_of.get(place, 0.0) for place in places]
    return pd.DataFrame({"clip_id": clips["clip_id"], "distinct_frames": np.array(shares, dtype=np.float64)})


def reencoded_files(clips: pd.DataFrame, data: Path) -> pd.DataFrame:
    """Return one row per file of re-encoded states that the clips need: file, state."""
    names = [f"reencoded/{shard_name('summary', shard)}" for shard in sorted(set(values(clips, "shard")))]
    return _states(names, data)


def _states(names: Sequence[str], data: Path) -> pd.DataFrame:
    return pd.DataFrame({"file": names, "state": [_shard_file(data / name) for name in names]}, dtype="str")


def _shard_file(path: Path) -> str:
    if not path.is_file():
        return MISSING
    try:
        shard_names(path)
    except ContractError:
        return UNREADABLE
    return READABLE


def require_encoder(data: Path, model: ModelInfo) -> None:
    """Return if the embeddings were made with the weights that made the clips.

    Raises:
        ContractError: they were not, or do not say.
    """
    made = shard_metadata(data / "embeddings" / "embeddings.safetensors").get("model")
    digest = made.get("weights_sha256") if isinstance(made, dict) else None
    if digest != model.weights_sha256:
        rule = f"be made with the model of the clips, sha256 {model.weights_sha256[:12]}"
        got = f"sha256 {digest[:12]}" if isinstance(digest, str) else "no model"
        advice = (
            "Run `dvc repro --force embed` with the weights of the clips, or `dvc repro` from generate on"
        )
        raise ContractError(must("data/embeddings", rule, got, next_step=advice))


def stored_embeddings(data: Path) -> tuple[pd.DataFrame, int]:
    """Return the shapes of the stored embeddings (encoder, n_rows, width) and the size of the vocabulary.

    Raises:
        ContractError: the file is absent, truncated, or lacks a tensor.
    """
    path = data / "embeddings" / "embeddings.safetensors"
    tensors = read_shard(path, ENCODERS)
    shapes = [(name, *tensors[name].shape) for name in ENCODERS]
    return pd.DataFrame(shapes, columns=["encoder", "n_rows", "width"]), len(shard_metadata(path)["words"])
