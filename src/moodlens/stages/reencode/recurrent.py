"""Readers of equal capacity: a small recurrent network before and after it is trained to predict tokens.

What a trained decoder's state tells of the music could be told by any network of its size. This one has at
most d_model units, no text and no labels. Its input is the codec's vectors of the tokens. Before training it
is an echo state network: its random weights keep a memory of its past. Then it is trained for a fixed number
of steps to predict the next token, on all clips; emotions and prompts are unknown to it. The states of both
are stored with the memories of untrained decoders (`stages.reencode.memory`), so that neither is worse for
want of a running mean. The state at a decoder step has read the input columns up to it, as a decoder's has.

One optimizer step takes windows of some clips and predicts one codebook, the codebooks in turn. The biases of
the update gate start at time constants from 1 step to a window (Tallec and Ollivier 2018, Can recurrent
neural networks warp time?). Echo state network: Jaeger 2001, The "echo state" approach to analysing and
training recurrent neural networks.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from moodlens.base.seeding import seed_for
from moodlens.contracts.tensors import NETWORKS, shard_name
from moodlens.stages.reencode.memory import memory_weights, remembered
from moodlens.stages.reencode.shard import ReencodeTask, loaded, read_codes
from moodlens.store.receipts import write_receipt
from moodlens.store.shards import write_shard

if TYPE_CHECKING:
    from torch import Tensor

    from moodlens.contracts.backend import MusicBackend

BATCH, WINDOW_STEPS = 8, 96
"""Clips and decoder steps of one optimizer step."""
LEARNING_RATE, LARGEST_GRADIENT = 2e-3, 1.0


@dataclass(frozen=True)
class RecurrentTask:
    """The tokens of all shards, read by one recurrent network; picklable."""

    shards: tuple[ReencodeTask, ...]
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
    """Write the memories of the network before and after training; the receipt comes last.

    Raises:
        ContractError: a shard of codes is damaged or short.
    """
    import torch

    from moodlens.codes.delay import apply_delay

    first = task.shards[0]
    torch.set_num_threads(first.threads)
    model = loaded(first.model, first.root, first.weights_sha256, first.twin_seed)["model"]
    size, n_channels = model.info.codebook_size, model.info.audio_channels
    columns = [
        apply_delay(torch.from_numpy(read_codes(shard).astype(np.int64)), size, n_channels)
        for shard in task.shards
    ]
    both = recurrent_states(columns, vectors_of(model), task.units, task.n_steps)
    for i, (shard, path) in enumerate(zip(task.shards, task.files, strict=True)):
        weights = memory_weights(shard.steps, both[0][i].shape[1])
        tensors = {name: remembered(states[i], weights) for name, states in zip(NETWORKS, both, strict=True)}
        about = {"clips": [clip.clip_id for clip in shard.clips], "steps": list(shard.steps)}
        write_shard(path, tensors, about)
    write_receipt(task.receipt, task.fingerprint, task.data, task.files, {})


def vectors_of(model: "MusicBackend") -> Float[np.ndarray, "codebook token d_codec"]:
    """Return the codec's vector of every token, at variance 1, and of padding, which comes last and is 0."""
    n_codebooks, size = model.info.n_codebooks, model.info.codebook_size
    every = np.tile(np.arange(size, dtype=np.int16), (1, n_codebooks, 1))
    vectors = model.token_vectors(every)[0]
    return np.pad(vectors / vectors.std(), ((0, 0), (0, 1), (0, 0)))


def recurrent_states(
    columns: "list[Tensor]",
    vectors: Float[np.ndarray, "codebook token d_codec"],
    units: int,
    n_steps: int,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the states before and after training, each one (clip, step, unit) array per shard.

    Args:
        columns: delayed tokens of each shard, (clip, codebook, column); column i is the input of step i.
        vectors: from `vectors_of`; the last token is padding.
        units: of the recurrent layer.
        n_steps: optimizer steps.
    """
    import torch
    from torch import nn

    n_codebooks, n_tokens, d_codec = vectors.shape
    table = torch.from_numpy(np.asarray(vectors, dtype=np.float32))
    rng = np.random.default_rng(seed_for("recurrent reader"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for("recurrent reader"))
        entry = nn.Linear(n_codebooks * d_codec, units)
        layer = nn.GRU(units, units, batch_first=True)
        heads = nn.ModuleList(nn.Linear(units, n_tokens - 1) for _ in range(n_codebooks))
        biases = dict(layer.named_parameters())
        with torch.no_grad():  # of reset, update and new gate, one after the other
            biases["bias_ih_l0"][units : 2 * units] = torch.log(1 + WINDOW_STEPS * torch.rand(units))
            biases["bias_hh_l0"][units : 2 * units] = 0

    def states_of(tokens: torch.Tensor) -> torch.Tensor:
        read = torch.cat([table[k][tokens[:, k]] for k in range(n_codebooks)], dim=2)
        return layer(entry(read))[0]

    def on_all_clips() -> list[np.ndarray]:
        with torch.no_grad():
            return [states_of(tokens[:, :, :-1]).numpy() for tokens in columns]

    before = on_all_clips()
    parameters = [*entry.parameters(), *layer.parameters(), *heads.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    loss = nn.CrossEntropyLoss(ignore_index=n_tokens - 1)
    for step in range(n_steps):
        tokens = columns[int(rng.integers(len(columns)))]
        rows = torch.from_numpy(rng.choice(len(tokens), min(BATCH, len(tokens)), replace=False))
        read = min(WINDOW_STEPS, tokens.shape[2] - 1)
        first = int(rng.integers(tokens.shape[2] - read))
        window = tokens[rows, :, first : first + read + 1]
        codebook = step % n_codebooks
        predicted = heads[codebook](states_of(window[:, :, :-1]))
        optimizer.zero_grad()
        loss(predicted.transpose(1, 2), window[:, codebook, 1:]).backward()
        nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
        optimizer.step()
    return before, on_all_clips()
