"""Cross-entropy of the model when the output of a decoder layer is replaced.

Given tokens are teacher-forced under their own text. An edit is a function of the layer's states. The loss is
the mean of -log p over tokens, padding of the delay pattern left out, in nats.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from moodlens.backends.conditioning import encode_text
from moodlens.backends.edits import replaced
from moodlens.backends.hooks import SITES
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.base.errors import UsageError, must
from moodlens.codes.delay import apply_delay

Edit = Callable[[Tensor], Tensor]
"""(row, d_model) -> (row, d_model)."""


def rowwise(edit: Edit) -> Callable[[Tensor], Tensor]:
    """Return the edit as a change of states (row, step, width) of any dtype."""
    return lambda states: edit(states.flatten(0, -2).float()).to(states.dtype).reshape(states.shape)


@torch.inference_mode()
def cross_entropies(
    backend: MusicgenBackend,
    codes: np.ndarray,
    texts: Sequence[str],
    site_layer: tuple[str, int],
    edits: Mapping[str, Edit | None],
) -> dict[str, float]:
    """Return name of edit -> mean cross-entropy in nats per token; the edit None leaves the model unchanged.

    Args:
        codes: (clip, codebook, frame).
        texts: the text of each clip.
        site_layer: site and layer whose output is edited.
        edits: by name.

    Raises:
        UsageError: there is no clip.
    """
    if not len(codes):
        raise UsageError(must("a splice", "have clips", 0, next_step="Raise latents.splice_clips"))
    model, tokenizer = backend.parts
    decoder, text_padding = backend.decoder, backend.text_padding
    site, layer = site_layer
    module = SITES[site](decoder.layers[layer])
    sums, n_tokens = dict.fromkeys(edits, 0.0), 0
    like = decoder.like
    for clip, text in zip(codes, texts, strict=True):
        tokens = torch.from_numpy(clip[None].astype(np.int64))
        columns = apply_delay(tokens, decoder.pad_id, decoder.n_channels).to(like.device)
        inputs, targets = columns[:, :, :-1], columns[0, :, 1:].T  # step, codebook
        encoded = encode_text(model, tokenizer, text)
        width = decoder.width(len(encoded.tokens), text_padding)
        block = decoder.conditioning([encoded], 1, 1, width, text_padding)
        real = targets != decoder.pad_id
        n_tokens += int(real.sum())
        for name, edit in edits.items():
            if edit is None:
                states = decoder.states(inputs, block, None)
            else:
                with replaced(module, rowwise(edit)):
                    states = decoder.states(inputs, block, None)
            steps = decoder.heads(states[:, decoder.n_prefix(width) :])[0]
            logits = steps.unflatten(-1, (decoder.n_codebooks, -1)).float()
            losses = nn.functional.cross_entropy(logits[real], targets[real], reduction="sum")
            sums[name] += float(losses.double())
    return {name: total / n_tokens for name, total in sums.items()}
