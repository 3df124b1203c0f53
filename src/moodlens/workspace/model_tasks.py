"""What the tasks of an experiment with the model share: where they read and write, and the loaded model."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

from moodlens.backends import catalog
from moodlens.backends.recorded import EARLIER
from moodlens.contracts.backend import MusicBackend, Sampling
from moodlens.params.pipeline import Model


@dataclass(frozen=True, kw_only=True)
class ModelTask:
    """One part of an experiment, with everything that a worker needs; picklable."""

    folder: ClassVar[str]
    """Of the receipts, in data/. It is no output of DVC, so that DVC keeps it when a stage is run again."""

    number: int
    sampling: Sampling
    root: Path
    model: Model
    weights_sha256: str
    block_clips: int
    threads: int
    fingerprint: str

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def receipt(self) -> Path:
        return self.data / self.folder / f"receipt-{self.number:04d}.json"

    def backend(self) -> MusicBackend:
        """Return the model, loaded once per worker, after limiting the worker to the task's threads."""
        import torch

        torch.set_num_threads(self.threads)
        return _loaded(self.model, self.root, self.weights_sha256, self.block_clips)


@lru_cache(maxsize=1)
def _loaded(model: Model, root: Path, weights_sha256: str, block_clips: int) -> MusicBackend:
    return catalog.load(model, root, block_clips, recorded=weights_sha256, made=EARLIER)
