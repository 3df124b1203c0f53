"""Further untrained decoders: one task per decoder and shard, under null text alone.

The tasks come decoder by decoder, so that a process holds one further decoder at a time.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from moodlens.params.pipeline import Model
from moodlens.stages.reencode.memory import memory_path, remember
from moodlens.stages.reencode.shard import ReencodeTask, loaded, read_codes
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import write_shard

if TYPE_CHECKING:
    from moodlens.contracts.backend import MusicBackend


@dataclass(frozen=True)
class MemoryTask:
    """The tokens of one shard, read by one further untrained decoder; picklable."""

    of: ReencodeTask
    draw: int
    seed: int  # of the decoder
    fingerprint: str

    @property
    def data(self) -> Path:
        return self.of.data

    @property
    def receipt(self) -> Path:
        return self.data / "reencoded" / f"receipt-memory-{self.draw}-{self.of.shard:04d}.json"

    @property
    def files(self) -> list[Path]:
        return [memory_path(self.data, self.draw, self.of.shard)]


def remember_shard(task: MemoryTask) -> None:
    """Write the memory shard of one further untrained decoder; the receipt comes last.

    Raises:
        ContractError: the shard of codes is damaged or short.
    """
    import torch

    of = task.of
    torch.set_num_threads(of.threads)
    decoder = _further(of.model, of.root, of.weights_sha256, of.twin_seed, task.seed)
    tensors = remember(decoder, read_codes(of), replace(of.capture, half="cond"), of.steps)
    about = {"clips": [clip.clip_id for clip in of.clips], "steps": list(of.steps)}
    about["models"] = {f"draw {task.draw}": decoder.info.weights_sha256}
    (path,) = task.files
    write_shard(path, tensors, about)
    write_receipt(task.receipt, task.fingerprint, task.data, task.files, {})


@lru_cache(maxsize=1)
def _further(model: Model, root: Path, weights_sha256: str, twin_seed: int, seed: int) -> "MusicBackend":
    return loaded(model, root, weights_sha256, twin_seed)["model"].random_decoder(seed)
