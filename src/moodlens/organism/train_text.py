"""Training of the text encoder: it predicts the factors of a piece from its caption, before it sees music.

MusicGen's T5 is pretrained on text and stays frozen. The organism's word-level encoder starts from random
weights. Trained on music alone it learns each word only from the first beats of a clip, because later the
music itself carries the same information: after 1,400 decoder steps it separated instruments, and moods not
at all.
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

NO_EMOTION = -100
"""Emotion class of a factor piece; cross-entropy ignores it."""

CaptionedFactors = Callable[[int, int], tuple[str, Factors]]
"""(index of the piece, number of the draw) -> a caption and the factors of its piece."""


@dataclass(frozen=True)
class TextRecipe:
    """The settings of the text encoder's training beside its schedule."""

    seed: int  # of the captions and the linear heads
    batch_captions: int  # captions per step
    n_pieces: int  # pieces whose captions are used


class EncoderWithHeads(nn.Module):
    """The encoder with linear heads on its mean state; the heads are dropped after training."""

    def __init__(self, encoder: T5EncoderModel, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        n_classes = len(EMOTIONS) + len(INSTRUMENTS) + len(KEYS)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.heads = nn.Linear(encoder.config.d_model, N_CONTINUOUS + n_classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Float[Tensor, "caption output"]:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        weights = attention_mask[..., None].to(states.dtype)
        return self.heads((states * weights).sum(1) / weights.sum(1))


class TextTask:
    """The text encoder as a `training_loop.Task`: captions are drawn by (seed, step)."""

    def __init__(
        self, encoder: T5EncoderModel, tokenizer: T5Tokenizer, recipe: TextRecipe, captioned: CaptionedFactors
    ) -> None:
        self.model = EncoderWithHeads(encoder, recipe.seed).train()
        self.tokenizer = tokenizer
        self.recipe = recipe
        self.captioned = captioned

    def loss(self, step: int) -> Tensor:
        """Return the mean squared error of the continuous outputs plus the cross-entropies of the classes."""
        rng = rng_for("captions", self.recipe.seed, step)
        pieces = rng.integers(self.recipe.n_pieces, size=self.recipe.batch_captions)
        return sum(self._errors([self.captioned(int(piece), step) for piece in pieces]), torch.zeros(()))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the errors on captions of pieces that are not used for training."""
        first = self.recipe.n_pieces
        errors = self._errors([self.captioned(first + number, 0) for number in range(256)])
        names = ("val_continuous", "val_emotion", "val_instrument", "val_key")
        return {name: float(error) for name, error in zip(names, errors, strict=True)}

    def _errors(self, batch: list[tuple[str, Factors]]) -> list[Tensor]:
        text = self.tokenizer([caption for caption, _ in batch], padding=True, return_tensors="pt")
        outputs = self.model(text.input_ids, text.attention_mask)
        pieces = [factors for _, factors in batch]
        sizes = [N_CONTINUOUS, len(EMOTIONS), len(INSTRUMENTS), len(KEYS)]
        continuous, emotion, instrument, key = outputs.split(sizes, dim=1)
        true, known = continuous_of(pieces)
        emotions = [EMOTIONS.index(piece.emotion) if piece.emotion else NO_EMOTION for piece in pieces]
        instruments = [INSTRUMENTS.index(piece.instrument) for piece in pieces]
        keys = [list(KEYS).index(piece.key) for piece in pieces]
        return [
            ((continuous - true).pow(2) * known).sum() / known.sum(),
            functional.cross_entropy(emotion, torch.tensor(emotions), ignore_index=NO_EMOTION),
            functional.cross_entropy(instrument, torch.tensor(instruments)),
            functional.cross_entropy(key, torch.tensor(keys)),
        ]


def continuous_of(
    pieces: list[Factors],
) -> tuple[Float[Tensor, "caption factor"], Float[Tensor, "caption factor"]]:
    """Return the N_CONTINUOUS factors of pieces, each scaled to about [-1, 1], and 1 where it is known.

    Tempo and loudness are in log. A factor piece has neither valence nor arousal.
    """
    true = [
        (
            piece.valence or 0.0,
            piece.arousal or 0.0,
            np.log2(piece.bpm / 90),
            np.log2(piece.rms / 0.085),
            3 * (piece.brightness - 0.42),
            1.0 if piece.major else -1.0,
        )
        for piece in pieces
    ]
    known = [
        [float(piece.valence is not None), float(piece.arousal is not None), 1, 1, 1, 1] for piece in pieces
    ]
    return torch.tensor(true, dtype=torch.float32), torch.tensor(known, dtype=torch.float32)
