"""The decoder of a melody model: chroma and text are prepended to the sequence; there is no cross-attention.

    position   0 .. n_chroma-1   n_chroma .. n_chroma+width-1   then one position per decoder step
               chroma            text, or zeros (null text)

No melody is given: every row has the null chroma, the unit vector of bin 0, at all its positions. Text is
encoded alone. Under `mask` it takes exactly its own positions, so that a clip equals what audiocraft makes of
its prompt alone. Under `attend` its width is rounded up and the empty positions are zeros. Position encodings
count from the first position of the prefix, so the length of a prompt shifts the steps, as in training.

Source: audiocraft 1.3.0 `ConditionFuser` (prepend), transformers 5.23 `modeling_musicgen_melody`
(`_prepare_encoder_hidden_states_kwargs_for_generation`); `tests/backends/audiocraft/test_parity.py` measures
parity.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers.cache_utils import Cache

from moodlens.backends.conditioning import Conditioning, EncodedText, text_width
from moodlens.backends.musicgen.decode_loop import Decoder, PreallocatedLayer


@dataclass(frozen=True)
class MelodyDecoder(Decoder):
    """The modules of `MusicgenMelodyForCausalLM` that a step runs through, and its null chroma."""

    chroma: Float[Tensor, "position d_model"] = field(kw_only=True)

    @classmethod
    def of(cls, model: Any) -> "MelodyDecoder":
        """Return the decoder of a `MusicgenMelodyForConditionalGeneration`."""
        weight = model.audio_enc_to_dec_proj.weight
        silence = weight.new_zeros(1, model.config.num_chroma)
        silence[:, 0] = 1
        with torch.inference_mode():
            projected = model.audio_enc_to_dec_proj(silence)
        return cls(model.decoder, chroma=projected.repeat(model.config.chroma_length, 1))

    def width(self, n_tokens: int, text_padding: str) -> int:
        """Return the positions of a text: its tokens, or under `attend` a multiple of `TEXT_BUCKET`."""
        return n_tokens if text_padding == "mask" else text_width(n_tokens)

    def n_prefix(self, width: int) -> int:
        """Return the number of positions of chroma and text before the first step."""
        return self.chroma.shape[0] + width

    def cache(self, n_positions: int) -> Any:
        """Return an empty cache for `n_positions` positions of the sequence, the prefix included."""
        return Cache(layers=[PreallocatedLayer(n_positions) for _ in self.layers])

    def conditioning(
        self,
        texts: Sequence[EncodedText | None],
        n_text_rows: int,
        n_rows: int,
        width: int,
        text_padding: str,
    ) -> Conditioning:
        """Return the prefix of every row: texts in the first rows, null text in the others."""
        hidden = self.like.new_zeros(n_rows, self.n_prefix(width), self.like.shape[-1])
        n_chroma = self.chroma.shape[0]
        hidden[:, :n_chroma] = self.chroma
        for row, text in enumerate(texts):
            if text is not None:
                hidden[row, n_chroma : n_chroma + text.projected.shape[0]] = text.projected
        return Conditioning(hidden, None, width)

    def states(
        self, columns: Int[Tensor, "row codebook column"], text: Conditioning, cache: Any | None
    ) -> Float[Tensor, "row position d_model"]:
        """Return the normalised output of the last layer; the first call holds the prefix too."""
        body = self.lm.model.decoder
        past = cache.get_seq_length() if cache is not None else 0
        embedded = [body.embed_tokens[k](columns[:, k]) for k in range(self.n_codebooks)]
        hidden = torch.stack(embedded).sum(dim=0)
        if past == 0:
            hidden = torch.cat([text.hidden, hidden], dim=1)
        hidden = self.embedding(hidden + body.embed_positions(hidden, past).to(hidden.dtype))
        for layer in body.layers:
            hidden, _weights = layer(hidden, past_key_values=cache, use_cache=cache is not None)
        return body.layer_norm(hidden)
