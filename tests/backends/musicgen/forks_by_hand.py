"""Forks computed a second way: whole passes in plain torch, of a model of width 32 with 4 codebooks x 32."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from moodlens.backends.conditioning import text_width
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.sampling import clip_uniforms, draw_tokens
from moodlens.codes.delay import apply_delay
from moodlens.contracts.backend import Branch, Sampling, Stem


class ByHand:
    """Forks from whole passes: the states of the prefix are kept layer by layer, keys and values are not."""

    def __init__(self, backend: MusicgenBackend, stems: Sequence[Stem], sampling: Sampling) -> None:
        self.backend, self.stems, self.sampling = backend, stems, sampling
        self.n_steps = sampling.n_frames + 3
        self.body = backend.decoder.lm.model.decoder
        self.heads = backend.decoder.lm.lm_heads

    @torch.inference_mode()
    def fork(self, branch: Branch) -> tuple[np.ndarray, float]:
        """Return the tokens of a branch and its nats per token."""
        stem, step, scale = self.stems[branch.stem], branch.step, self.sampling.guidance_scale
        columns = apply_delay(torch.from_numpy(stem.codes.astype(np.int64))[None], 32)
        columns[:, :, step + 1 :] = 32
        cached = self.cached(columns[:, :, :step], stem.text)
        if branch.donor is not None:
            theirs = self.cached(columns[:, :, :step], self.stems[branch.donor].text)
            steps = slice(*(branch.window or (0, step)))
            for layer in range(len(cached)) if branch.layers is None else branch.layers:
                cached[layer][steps] = theirs[layer][steps]
        null = self.cached(columns[:, :, :step], None)
        uniforms = torch.from_numpy(clip_uniforms(stem.seed_key, self.n_steps, 4))
        total, count = 0.0, 0
        for now in range(step, self.n_steps):
            own = columns[:, :, step : now + 1]
            logits = self.logits(own, cached, branch.ahead)
            if scale != 1:
                uncond = self.logits(own, null, None)
                logits = uncond + scale * (logits - uncond)
            tokens = draw_tokens(logits[None], uniforms[now][None], self.sampling)[0]
            real = [k for k in range(4) if 0 <= now - k < self.sampling.n_frames]
            columns[0, real, now + 1] = tokens[real]
            total += float(cross_entropy(logits[real], tokens[real], reduction="sum"))
            count += len(real)
        codes = np.stack([columns[0, k, k + 1 : k + 1 + self.sampling.n_frames].numpy() for k in range(4)])
        return codes, total / count

    def cached(self, columns: torch.Tensor, text: str | None) -> list[torch.Tensor]:
        """Return the input of every self-attention, (step, d_model), when columns are fed under a text."""
        return self.layers(columns, [torch.zeros(0, 32)] * len(self.body.layers), text)[0]

    def logits(self, columns: torch.Tensor, cached: list[torch.Tensor], text: str | None) -> torch.Tensor:
        """Return the logits (codebook, entry) at the last column."""
        last = self.body.layer_norm(self.layers(columns, cached, text)[1][-1])
        return torch.stack([head(last) for head in self.heads])

    def layers(
        self, columns: torch.Tensor, cached: list[torch.Tensor], text: str | None
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        past, n_columns = len(cached[0]), columns.shape[-1]
        hidden = torch.zeros(n_columns, 32)
        if n_columns:
            tokens = sum(self.body.embed_tokens[k](columns[0, k]) for k in range(4))
            hidden = tokens + self.body.embed_positions(columns, past)
        inputs = []
        for layer, before in zip(self.body.layers, cached, strict=True):
            states = layer.self_attn_layer_norm(hidden)
            inputs.append(states)
            read = torch.cat([before, states])
            visible = torch.arange(len(read)) <= past + torch.arange(n_columns)[:, None]
            hidden = hidden + attended(layer.self_attn, states, read, visible)
            if text is not None:
                read = self.read(text)
                states = layer.encoder_attn_layer_norm(hidden)
                visible = torch.ones(n_columns, len(read), dtype=torch.bool)
                hidden = hidden + attended(layer.encoder_attn, states, read, visible)
            states = layer.final_layer_norm(hidden)
            hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(states)))
        return inputs, hidden

    def read(self, text: str) -> torch.Tensor:
        states = torch.from_numpy(self.backend.encode_text([text])[0].projected)
        empty = text_width(len(states)) - len(states) if self.backend.text_padding == "attend" else 0
        return torch.cat([states, torch.zeros(empty, 32)])


def attended(module: Any, queries: torch.Tensor, read: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    heads = [
        projected.unflatten(-1, (module.num_heads, -1)).transpose(0, 1)
        for projected in (module.q_proj(queries), module.k_proj(read), module.v_proj(read))
    ]
    scores = heads[0] @ heads[1].mT / heads[0].shape[-1] ** 0.5
    weights = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    return module.out_proj((weights @ heads[2]).transpose(0, 1).flatten(1))
