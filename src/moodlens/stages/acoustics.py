"""Stage `acoustics`: eleven acoustic descriptors of every clip, shard by shard.

Each measured shard leaves a receipt, so that an interrupted run resumes; the bytes of the table do not depend
on interruptions. The receipts are removed when the table is written.
"""

import shutil
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
    joined_rows,
    library_versions,
    unfinished,
    write_receipt,
)
from moodlens.store.tables import read_table, write_table

PARTS = ".acoustics"
"""Folder of the receipts in data/. It is no output of DVC, so that DVC keeps it when a run is killed."""
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
        ContractError: an audio file is missing or cut short; the message names it; measured shards are kept.
    """
    data = root / "data"
    clips = read_table(CLIPS, data / "clips.parquet")
    parts = plan(clips, data)
    waiting = unfinished(parts)
    run_tasks(
        measure,
        waiting,
        workers=params.compute.workers,
        threads=params.compute.threads,
        label="acoustics",
        done=len(parts) - len(waiting),
    )
    rows = joined_rows(parts, ("acoustics",))["acoustics"]
    write_table(pd.DataFrame(rows, columns=ACOUSTICS.names), ACOUSTICS, data / "acoustics.parquet")
    shutil.rmtree(data / PARTS, ignore_errors=True)


def plan(clips: pd.DataFrame, data: Path) -> list[Part]:
    """Return one part per shard of the clip table; its fingerprint covers audio, code and libraries.

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
            clips=tuple(members),
            data=data,
            receipt=data / PARTS / f"receipt-{shard:04d}.json",
            fingerprint=fingerprint(
                {**shared, "clips": [(clip, _digest(data / name)) for clip, name in members]}
            ),
        )
        for shard, members in groups.items()
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
