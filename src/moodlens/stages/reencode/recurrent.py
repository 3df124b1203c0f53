"""A reader of equal capacity: a small recurrent network trained to predict the next tokens, without labels.

What a trained decoder's state tells of the music could be told by any network that was trained on such music.
This one has at most d_model units and no text. It is trained for a fixed number of steps on the tokens of all
clips; emotions and prompts are unknown to it, so no fold is looked into. Its state at a decoder step has read
the input columns up to that step, as the decoder's has.

One optimizer step takes windows of some clips and predicts one codebook, the codebooks in turn.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moodlens.base.seeding import seed_for
from moodlens.contracts.tensors import shard_name
from moodlens.stages.reencode.shard import ReencodeTask, read_codes
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import write_shard

if TYPE_CHECKING:
    from torch import Tensor

BATCH, WINDOW_STEPS = 8, 96
"""Clips and decoder steps of one optimizer step."""
LEARNING_RATE, LARGEST_GRADIENT = 4e-3, 1.0


@dataclass(frozen=True)
class RecurrentTask:
    """The tokens of all shards, read by one recurrent network; picklable."""

    shards: tuple[ReencodeTask, ...]
    codebook_size: int
    n_channels: int
    units: int
    n_steps: int
    fingerprint: str

    @property
    def data(self) -> Path:
        return self.shards[0].data

    @property
    def receipt(self) -> Path:
        return self.data / "reencoded" / "receipt-recurrent.json"

    @property
    def files(self) -> list[Path]:
        folder = self.data / "reencoded"
        return [folder / shard_name("recurrent", task.shard) for task in self.shards]


def read_recurrently(task: RecurrentTask) -> None:
    """Train the network on the tokens of all shards and write its states; the receipt comes last.

    Raises:
        ContractError: a shard of codes is damaged or short.
    """
    import torch

    from moodlens.codes.delay import apply_delay

    torch.set_num_threads(task.shards[0].threads)
    columns = [
        apply_delay(torch.from_numpy(read_codes(shard).astype(np.int64)), task.codebook_size, task.n_channels)
        for shard in task.shards
    ]
    states = recurrent_states(columns, task.codebook_size, task.units, task.n_steps)
    for shard, path, made in zip(task.shards, task.files, states, strict=True):
        about = {"clips": [clip.clip_id for clip in shard.clips], "steps": list(shard.steps)}
        write_shard(path, {"steps": made[:, list(shard.steps)]}, about)
    write_receipt(task.receipt, task.fingerprint, task.data, task.files, {})


def recurrent_states(
    columns: "list[Tensor]", codebook_size: int, units: int, n_steps: int
) -> list[np.ndarray]:
    """Return the trained network's state at every decoder step, one (clip, step, unit) array per shard.

    Args:
        columns: delayed tokens of each shard, (clip, codebook, column); column i is the input of step i.
        codebook_size: entries of a codebook; this number is the padding token.
        units: of the recurrent layer.
        n_steps: optimizer steps.
    """
    import torch
    from torch import nn

    n_codebooks = columns[0].shape[1]
    rng = np.random.default_rng(seed_for("recurrent reader"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("recurrent reader"))
        embedding = nn.EmbeddingBag(n_codebooks * (codebook_size + 1), units, mode="sum")
        layer = nn.GRU(units, units, batch_first=True)
        heads = nn.ModuleList(nn.Linear(units, codebook_size) for _ in range(n_codebooks))
    offsets = torch.arange(n_codebooks) * (codebook_size + 1)

    def embedded(tokens: torch.Tensor) -> torch.Tensor:
        n_clips, _, n_read = tokens.shape
        flat = (tokens.transpose(1, 2) + offsets).reshape(-1, n_codebooks)
        return embedding(flat).reshape(n_clips, n_read, units)

    parameters = [*embedding.parameters(), *layer.parameters(), *heads.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    loss = nn.CrossEntropyLoss(ignore_index=codebook_size)
    for step in range(n_steps):
        tokens = columns[int(rng.integers(len(columns)))]
        rows = torch.from_numpy(rng.choice(len(tokens), min(BATCH, len(tokens)), replace=False))
        read = min(WINDOW_STEPS, tokens.shape[2] - 1)
        first = int(rng.integers(tokens.shape[2] - read))
        window = tokens[rows, :, first : first + read + 1]
        codebook = step % n_codebooks
        predicted = heads[codebook](layer(embedded(window[:, :, :-1]))[0])
        optimizer.zero_grad()
        loss(predicted.transpose(1, 2), window[:, codebook, 1:]).backward()
        nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
        optimizer.step()
    with torch.no_grad():
        return [layer(embedded(tokens[:, :, :-1]))[0].numpy() for tokens in columns]
