"""Teach the text encoder what its captions mean, before it meets music.

MusicGen's T5 has read the language before and stays as it is; a word-level encoder with random weights has
not. From music alone it learns each word anew, and only through the first beats of every clip, before
the music itself tells the rest: after 1,400 decoder steps it told instruments apart and moods not at all.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from transformers import T5EncoderModel, T5Tokenizer

from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for
from moodlens.prompts.factors import Factors
from moodlens.prompts.lexicon import INSTRUMENTS, KEYS

N_CONTINUOUS = 6
"""Valence, arousal, tempo, loudness, brightness, mode."""

UNFELT = -100
"""Class of a factor piece's emotion: cross-entropy leaves it out."""

Meanings = Callable[[int, int], tuple[str, Factors]]
"""(index of the piece, number of the draw) -> a caption and what is true of its piece."""


@dataclass(frozen=True)
class TextRecipe:
    """What decides the text encoder's schooling beside its schedule."""

    seed: int  # of the captions and the reading heads
    batch_captions: int  # captions per step
    n_pieces: int  # pieces whose captions are read


class Reader(nn.Module):
    """The encoder with linear readings of its mean state; the readings are thrown away afterwards."""

    def __init__(self, encoder: T5EncoderModel, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        n_classes = len(EMOTIONS) + len(INSTRUMENTS) + len(KEYS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.readings = nn.Linear(encoder.config.d_model, N_CONTINUOUS + n_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Float[Tensor, "caption reading"]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        weights = attention_mask[..., None].to(states.dtype)
        return self.readings((states * weights).sum(1) / weights.sum(1))


class TextTask:
    """The text encoder's side of `loop.train`: captions are chosen by (seed, step)."""

    def __init__(
        self, encoder: T5EncoderModel, tokenizer: T5Tokenizer, recipe: TextRecipe, meanings: Meanings
    ) -> None:
        self.model = Reader(encoder, recipe.seed).train()
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.meanings = meanings

    def loss(self, step: int) -> Tensor:
        """Return mean squared error of the continuous readings plus cross-entropies of the named ones."""
        rng = rng_for("captions", self.recipe.seed, step)
        pieces = rng.integers(self.recipe.n_pieces, size=self.recipe.batch_captions)
        return sum(self._errors([self.meanings(int(piece), step) for piece in pieces]), torch.zeros(()))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the errors on captions of pieces beyond those trained on."""
        first = self.recipe.n_pieces
        errors = self._errors([self.meanings(first + number, 0) for number in range(256)])
        names = ("val_continuous", "val_emotion", "val_instrument", "val_key")
        return {name: float(error) for name, error in zip(names, errors, strict=True)}

    def _errors(self, batch: list[tuple[str, Factors]]) -> list[Tensor]:
        text = self.tokenizer([caption for caption, _ in batch], padding=True, return_tensors="pt")
        readings = self.model(text.input_ids, text.attention_mask)
        facts = [factors for _, factors in batch]
        sizes = [N_CONTINUOUS, len(EMOTIONS), len(INSTRUMENTS), len(KEYS)]
        continuous, emotion, instrument, key = readings.split(sizes, dim=1)
        true, known = continuous_of(facts)
        keys, played = list(KEYS), [INSTRUMENTS.index(found.instrument) for found in facts]
        felt = [EMOTIONS.index(found.emotion) if found.emotion else UNFELT for found in facts]
        return [
            ((continuous - true).pow(2) * known).sum() / known.sum(),
            functional.cross_entropy(emotion, torch.tensor(felt), ignore_index=UNFELT),
            functional.cross_entropy(instrument, torch.tensor(played)),
            functional.cross_entropy(key, torch.tensor([keys.index(found.key) for found in facts])),
        ]


def continuous_of(
    facts: list[Factors],
) -> tuple[Float[Tensor, "caption reading"], Float[Tensor, "caption reading"]]:
    """Return what is true of pieces, each factor scaled to about [-1, 1], and 1 where it is known.

    Tempo and loudness in log; a factor piece has neither valence nor arousal.
    """
    true = [
        (
            found.valence or 0.0,
            found.arousal or 0.0,
            np.log2(found.bpm / 90),
            np.log2(found.rms / 0.085),
            3 * (found.brightness - 0.42),
            1.0 if found.major else -1.0,
        )
        for found in facts
    ]
    known = [
        [float(found.valence is not None), float(found.arousal is not None), 1, 1, 1, 1] for found in facts
    ]
    return torch.tensor(true, dtype=torch.float32), torch.tensor(known, dtype=torch.float32)
