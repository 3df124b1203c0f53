"""Teacher forcing with the modules of the decode loop: all steps of some rows at once, without a cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from moodlens.backends.conditioning import Conditioning, EncodedText
from moodlens.backends.musicgen.decode_loop import Decoder
from moodlens.codes.delay import apply_delay


@dataclass(frozen=True)
class Forced:
    """The input of one pass: rows under texts first, then rows under null text."""

    columns: Int[Tensor, "row codebook column"]
    """Tokens with delays, the last column included."""
    text: Conditioning

    @property
    def inputs(self) -> Int[Tensor, "row codebook column"]:
        """What the decoder is fed: column s is the input of step s."""
        return self.columns[:, :, :-1]

    @property
    def n_steps(self) -> int:
        return self.columns.shape[-1] - 1


def forced(
    decoder: Decoder,
    rows: Sequence[tuple[np.ndarray, EncodedText | None]],
    n_null: int,
    width: int,
    text_padding: str,
) -> Forced:
    """Return the input of a pass over given tokens.

    Args:
        decoder: the model.
        rows: tokens (codebook, frame) and text of every row that may have a text.
        n_null: further rows under null text, 0 or 1; they hold the tokens of the first row.
        width: positions of a text.
        text_padding: see `conditioning.check_padding`.
    """
    codes = [codes for codes, _ in rows]
    codes += codes[:1] * n_null
    tokens = torch.from_numpy(np.stack(codes).astype(np.int64))
    columns = apply_delay(tokens, decoder.pad_id, decoder.n_channels).to(decoder.like.device)
    texts = [text for _, text in rows]
    return Forced(columns, decoder.conditioning(texts, len(rows), len(codes), width, text_padding))


@torch.inference_mode()
def token_nats(
    decoder: Decoder, states: Float[Tensor, "row position d_model"], forced: Forced
) -> Float[np.ndarray, "row codebook frame"]:
    """Return -ln p of the tokens of every row, given the decoder's output; row by row, to bound memory."""
    n_prefix = states.shape[1] - forced.n_steps
    n_codebooks = decoder.n_codebooks
    n_frames = forced.n_steps - decoder.n_delays + 1
    delays = torch.arange(n_codebooks, device=states.device) // decoder.n_channels
    steps = delays[:, None] + torch.arange(n_frames, device=states.device)
    out = []
    for row, columns in zip(states, forced.columns, strict=True):
        logits = decoder.heads(row[n_prefix:]).unflatten(-1, (n_codebooks, -1)).float()
        # step s outputs column s + 1; what the delay pattern pads is never read
        targets = columns[:, 1:].T.clamp(max=logits.shape[-1] - 1)
        nats = -logits.log_softmax(-1).gather(-1, targets[:, :, None])[:, :, 0]
        out.append(nats.T.gather(1, steps).cpu().numpy())
    return np.stack(out)
