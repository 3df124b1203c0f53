"""Tokens back into sound: the EnCodec of a transformers MusicGen, one channel of codebooks after another."""

from typing import Any

import numpy as np
import torch


@torch.inference_mode()
def waveforms(codec: Any, codes: np.ndarray, n_channels: int) -> np.ndarray:
    """Return the waveform of each clip, float32, decoded one clip at a time.

    Args:
        codec: transformers' `EncodecModel`.
        codes: (clip, codebook, frame); of two channels left and right are interleaved.
        n_channels: 1 or 2.

    Returns:
        (clip, sample); of two channels (clip, channel, sample), left and right.
    """
    found = []
    for clip in torch.from_numpy(codes.astype(np.int64)).to(codec.device):
        channels = [
            codec.decode(clip[None, None, channel::n_channels], [None]).audio_values[0, 0]
            for channel in range(n_channels)
        ]
        audio = torch.stack(channels) if n_channels > 1 else channels[0]
        found.append(audio.float().cpu().numpy())
    return np.stack(found)


@torch.inference_mode()
def token_vectors(codec: Any, codes: np.ndarray, n_channels: int) -> np.ndarray:
    """Return the codec's vector of every token, (clip, codebook, frame, d_codec) float32; as `waveforms`.

    The sum over codebooks is the latent that the codec decodes (residual quantisation).
    """
    books = codec.quantizer.layers
    given = torch.from_numpy(codes.astype(np.int64)).to(codec.device)
    vectors = [books[k // n_channels].codebook.embed[given[:, k]] for k in range(codes.shape[1])]
    return torch.stack(vectors, dim=1).float().cpu().numpy()
