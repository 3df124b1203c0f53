"""Stage `acoustics`: every clip in eleven descriptors, shard by shard on the pool, resumable.

A measured shard leaves a receipt beside data/ outputs; a run that was killed keeps them, and the table at the
end has the same bytes as that of a run that was not. Receipts go when the table is written.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

import moodlens
from moodlens.base.errors import ContractError, must
from moodlens.compute.pool import run_tasks
from moodlens.contracts.tables import ACOUSTICS, CLIPS
from moodlens.params.pipeline import Params
from moodlens.store.audio_files import read_waveform
from moodlens.store.code_fingerprint import closure, path_of
from moodlens.store.receipts import (
    code_digest,
    file_sha256,
    fingerprint,
    finished,
    library_versions,
    write_receipt,
)
from moodlens.store.tables import read_table, write_table

PARTS = ".acoustics"
"""Folder of the receipts in data/: no output of DVC, so that DVC keeps it when a run is killed."""
DECIDING_LIBRARIES = ("librosa", "numpy", "scipy", "soundfile")


@dataclass(frozen=True)
class Part:
    """The clips of one shard; picklable."""

    clips: tuple[tuple[str, str], ...]  # clip_id, audio file relative to data/
    data: Path
    receipt: Path
    fingerprint: str


def run(params: Params, root: Path) -> None:
    """Write data/acoustics.parquet, one row per clip, shard by shard.

    Raises:
        ContractError: an audio file is missing or cut short; the line names it, measured shards are kept.
    """
    data = root / "data"
    clips = read_table(CLIPS, data / "clips.parquet")
    parts = plan(clips, data)
    waiting = [part for part in parts if finished(part.receipt, part.fingerprint, data) is None]
    run_tasks(
        measure,
        waiting,
        workers=params.compute.workers,
        threads=params.compute.threads,
        label="acoustics",
        done=len(parts) - len(waiting),
    )
    write_table(_joined(parts), ACOUSTICS, data / "acoustics.parquet")
    shutil.rmtree(data / PARTS, ignore_errors=True)


def plan(clips: pd.DataFrame, data: Path) -> list[Part]:
    """Return one part per shard of the clips table; its fingerprint is of the audio, the code, the libraries.

    Raises:
        ContractError: an audio file is missing.
    """
    source = Path(moodlens.__file__).parents[1]
    modules = closure("moodlens.audio.descriptors", source) | {"moodlens.store.audio_files", __name__}
    shared = {
        "code": code_digest(path_of(name, source) for name in modules),
        "libraries": library_versions(DECIDING_LIBRARIES),
    }
    groups: dict[int, list[tuple[str, str]]] = {}
    for shard, clip_id, audio_path in clips[["shard", "clip_id", "audio_path"]].itertuples(index=False):
        groups.setdefault(int(shard), []).append((clip_id, audio_path))
    return [
        Part(
            clips=tuple(found),
            data=data,
            receipt=data / PARTS / f"receipt-{shard:04d}.json",
            fingerprint=fingerprint(
                {**shared, "clips": [(clip, _digest(data / name)) for clip, name in found]}
            ),
        )
        for shard, found in groups.items()
    ]


def _digest(path: Path) -> str:
    if not path.is_file():
        advice = "Run `dvc repro generate` to make the clip again"
        raise ContractError(must("audio file", "exist", "nothing", where=str(path), next_step=advice))
    return file_sha256(path)


def measure(part: Part) -> None:
    """Measure the clips of a part and write its receipt."""
    from moodlens.audio.descriptors import describe

    rows = []
    for clip_id, name in part.clips:
        waveform, sample_rate_hz = read_waveform(part.data / name)
        try:
            rows.append({"clip_id": clip_id, **asdict(describe(waveform, sample_rate_hz))})
        except ContractError as error:
            raise ContractError(f"{name}: {error}") from None
    write_receipt(part.receipt, part.fingerprint, part.data, [], {"acoustics": rows})


def _joined(parts: Sequence[Part]) -> pd.DataFrame:
    rows = []
    for part in parts:
        receipt = finished(part.receipt, part.fingerprint, part.data)
        if receipt is None:
            advice = "Another run wrote to data/ meanwhile: end it and run again"
            raise ContractError(must(part.receipt.name, "be finished", "no receipt", next_step=advice))
        rows += receipt.rows["acoustics"]
    return pd.DataFrame(rows, columns=ACOUSTICS.names)
