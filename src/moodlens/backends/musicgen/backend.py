"""MusicGen in transformers form behind the protocol: own decode loop, capture, teacher forcing, decoding."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from moodlens.attention.words import token_classes
from moodlens.backends.attention import AttentionRecorder
from moodlens.backends.conditioning import EncodedText, check_padding, encode_text
from moodlens.backends.edits import patched, sites_of
from moodlens.backends.hooks import Recorder, captured_halves, captured_modules, place, present_sites
from moodlens.backends.musicgen.codec import token_vectors, waveforms
from moodlens.backends.musicgen.decode_loop import Decoder, generate_block
from moodlens.backends.musicgen.melody import MelodyDecoder
from moodlens.backends.musicgen.packed import linears_of, packed, packing_pays
from moodlens.backends.musicgen.untrained import untrained
from moodlens.backends.sampling import block_uniforms
from moodlens.backends.validate_requests import check_codes, check_requests
from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import seed_for
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay
from moodlens.contracts.backend import (
    Capture,
    ClipRequest,
    Generated,
    ModelInfo,
    Patch,
    Sampling,
    States,
    TextEncoding,
)
from moodlens.contracts.tensors import hookpoint

BLOCK_CLIPS = 16
"""Clips per decoder block; throughput of one CPU core saturates here. Another value changes last bits."""


class MusicgenBackend:
    """A loaded MusicGen: text through cross-attention (mono, stereo, the organism) or prepended (melody).

    Args:
        model: transformers' `MusicgenForConditionalGeneration` or its melody sibling, on its device.
        tokenizer: of the text encoder.
        info: what is stored beside every dataset made with this model.
        block_clips: clips decoded side by side.
        text_padding: `mask` or `attend`, see `conditioning.check_padding`; under both a clip is a function of
            its own prompt and seed.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        info: ModelInfo,
        block_clips: int = BLOCK_CLIPS,
        text_padding: str = "mask",
    ) -> None:
        self._text_padding = check_padding(text_padding)
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._info = info
        melody = model.config.model_type == "musicgen_melody"
        self._decoder = MelodyDecoder.of(model) if melody else Decoder(model.decoder)
        self._block_clips = block_clips

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def parts(self) -> tuple[Any, PreTrainedTokenizerBase]:
        """The stock model and tokenizer inside, for comparisons with transformers."""
        return self._model, self._tokenizer

    @property
    def decoder(self) -> Decoder:
        """What a step runs through."""
        return self._decoder

    @property
    def text_padding(self) -> str:
        """What decoders see beside a text, see `conditioning.check_padding`."""
        return self._text_padding

    def with_info(self, info: ModelInfo) -> "MusicgenBackend":
        """Return the same loaded model under another description."""
        return MusicgenBackend(self._model, self._tokenizer, info, self._block_clips, self._text_padding)

    def hookpoints(self) -> list[str]:
        """Return every hookpoint of this model, site by site."""
        sites = present_sites(self._decoder.layers[0])
        layered = [hookpoint(site, layer) for site in sites for layer in range(self._info.n_layers)]
        return [*layered, *(hookpoint(site, 0) for site in self._decoder.whole_sites)]

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> list[TextEncoding]:
        """Return the text encoding of each prompt; each is a function of its own text only."""
        return [
            TextEncoding(
                found.tokens, found.hidden.float().cpu().numpy(), found.projected.float().cpu().numpy()
            )
            for found in self._encode(texts)
        ]

    def _encode(self, texts: Sequence[str]) -> list[EncodedText]:
        known: dict[str, EncodedText] = {}
        for text in texts:
            if text not in known:
                known[text] = encode_text(self._model, self._tokenizer, text)
        return [known[text] for text in texts]

    @torch.inference_mode()
    def generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        """Draw the clips; same clip, same tokens and states in any batch and order.

        Raises:
            UsageError: there is nothing to generate, or the capture names what this model lacks.
            ContractError: a hook did not record every step exactly once.
        """
        check_requests(requests, sampling)
        texts = self._encode([request.text for request in requests])
        codes = np.zeros((len(requests), self._info.n_codebooks, sampling.n_frames), dtype=np.int16)
        states = States()
        with self._packed():
            for block in self._blocks(texts):
                found = self._generate_block(
                    [texts[i] for i in block], [requests[i] for i in block], sampling, capture
                )
                codes[block] = found.codes
                place(states, found.states, block, len(requests))
        return Generated(codes, states)

    def _packed(self) -> AbstractContextManager[None]:
        linears = linears_of([*self._decoder.layers, self._decoder.heads])
        if not packing_pays(self._decoder.like, sum(linear.weight.nbytes for linear in linears)):
            return nullcontext()
        return packed(linears, 2 * self._block_clips)

    def _token_classes(self, text: str, wording: str) -> np.ndarray:
        """Return the class of every token of a prompt, see `moodlens.attention.words`."""
        spans: Any = self._tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        return token_classes(text, wording, spans)

    def _width(self, text: EncodedText | None) -> int:
        """Return the places of a text; null text has those of one token."""
        return self._decoder.width(len(text.tokens) if text is not None else 1, self._text_padding)

    def _blocks(self, texts: Sequence[EncodedText]) -> list[list[int]]:
        """Return the clips of each block: one text width, at most `block_clips`."""
        widths: dict[int, list[int]] = {}
        for i, text in enumerate(texts):
            widths.setdefault(self._width(text), []).append(i)
        size = self._block_clips
        return [clips[at : at + size] for clips in widths.values() for at in range(0, len(clips), size)]

    def _generate_block(
        self,
        texts: Sequence[EncodedText],
        requests: Sequence[ClipRequest],
        sampling: Sampling,
        capture: Capture,
    ) -> Generated:
        size = self._block_clips
        n_steps = steps_for(sampling.n_frames, self._decoder.n_delays)
        n_rows = size * (2 if sampling.guidance_scale != 1 or capture.half != "cond" else 1)
        width = self._width(texts[0])
        block = self._decoder.conditioning(texts, size, n_rows, width, self._text_padding)
        keys = [request.seed_key for request in requests]
        uniforms = block_uniforms(keys, size, n_steps, self._info.n_codebooks)
        rows = {half: slice(at, at + len(texts)) for half, at in (("cond", 0), ("uncond", size))}
        recorder = self._recorder(capture, rows, n_steps, width)
        classes = [self._token_classes(r.text, r.wording) for r in requests] if capture.attention else []
        watcher = AttentionRecorder(list(self._decoder.layers), classes, n_steps, capture.attention)
        with recorder.attached(), watcher.attached():
            codes = generate_block(self._decoder, block, n_rows, uniforms, sampling)
        states = recorder.finish()
        states.attention = watcher.finish()
        return Generated(codes[: len(texts)].cpu().numpy().astype(np.int16), states)

    def _recorder(self, capture: Capture, rows: Mapping[str, slice], n_steps: int, width: int) -> Recorder:
        wanted = {half: rows[half] for half in captured_halves(capture)}
        n_prefix = self._decoder.n_prefix(width)
        return Recorder(self._modules(capture), wanted, n_steps, capture, self._decoder.n_delays, n_prefix)

    def _modules(self, capture: Capture) -> dict[str, nn.Module]:
        return captured_modules(list(self._decoder.layers), capture, self._decoder.whole_sites)

    @torch.inference_mode()
    def teacher_force(
        self,
        codes: np.ndarray,
        texts: Sequence[str | None],
        capture: Capture,
        patches: Sequence[Patch] = (),
        wordings: Sequence[str] | None = None,
    ) -> States:
        """Return the states of a full pass over given tokens, with the true delay pattern and start token.

        One clip at a time, so that a clip's states do not depend on its mates.

        Args:
            codes: (clip, codebook, frame), integers in [0, codebook_size).
            texts: per clip the prompt, or None for null text (zero after projection).
            capture: what to record; `cond` is the half under `texts`, `uncond` the one under null text.
            patches: outputs to replace on the way, one row of values per clip.
            wordings: per clip the words that bear emotion, where attention is summarised.

        Raises:
            UsageError: the number of texts is not the number of clips, tokens lie outside the codebook, a
                patch does not fit, or attention under null text is asked for.
        """
        check_codes(codes, len(texts), self._info)
        states = States()
        for i, text in enumerate(texts):
            found = self._encode([text])[0] if text is not None else None
            mine = [replace(patch, values=patch.values[i : i + 1]) for patch in patches]
            classes = self._watched(text, "" if wordings is None else wordings[i], capture)
            made = self._teacher_force_one(codes[i : i + 1], found, capture, mine, classes)
            place(states, made, [i], len(texts))
        return states

    def _watched(self, text: str | None, wording: str, capture: Capture) -> list[np.ndarray]:
        if not capture.attention:
            return []
        if text is None or capture.half == "uncond":
            rule = "be watched under a text in the conditional half"
            raise UsageError(must("attention", rule, "null text", next_step="Capture it without attention"))
        return [self._token_classes(text, wording)]

    def _teacher_force_one(
        self,
        codes: np.ndarray,
        text: EncodedText | None,
        capture: Capture,
        patches: Sequence[Patch],
        classes: Sequence[np.ndarray],
    ) -> States:
        tokens = torch.from_numpy(codes.astype(np.int64))
        columns = apply_delay(tokens, self._decoder.pad_id, self._decoder.n_channels)[:, :, :-1]
        halves, width = captured_halves(capture), self._width(text)
        given = [text] if text is not None and "cond" in halves else []
        block = self._decoder.conditioning(given, 1, len(halves), width, self._text_padding)
        rows = {half: slice(row, row + 1) for row, half in enumerate(halves)}
        n_steps = columns.shape[-1]
        recorder = self._recorder(capture, rows, n_steps, width)
        watcher = AttentionRecorder(list(self._decoder.layers), classes, n_steps, capture.attention)
        edited = self._modules(Capture(sites_of(patches)))
        edits = patched(edited, patches, rows, n_steps, self._decoder.n_prefix(width))
        columns = columns.repeat(len(halves), 1, 1).to(self._decoder.like.device)
        with edits, recorder.attached(), watcher.attached():
            states = self._decoder.states(columns, block, None)
            if "logits" in capture.sites:
                self._decoder.heads(states)
        made = recorder.finish()
        made.attention = watcher.finish()
        return made

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the waveform of each clip, (clip, sample), in stereo (clip, channel, sample), float32.

        Raises:
            UsageError: the tokens are not this model's.
        """
        check_codes(codes, len(codes), self._info)
        return waveforms(self._model.audio_encoder, codes, self._decoder.n_channels)

    def token_vectors(self, codes: np.ndarray) -> np.ndarray:
        """Return the codec's vector of every token, (clip, codebook, frame, d_codec) float32."""
        check_codes(codes, len(codes), self._info)
        return token_vectors(self._model.audio_encoder, codes, self._decoder.n_channels)

    def random_twin(self, seed: int) -> "MusicgenBackend":
        """Return the same architecture with untrained weights from `seed`; codec and tokenizer are kept."""
        return self._untrained("untrained twin", f"random{seed}", seed, keep_text=False)

    def random_decoder(self, seed: int) -> "MusicgenBackend":
        """Return an untrained decoder and projection behind the trained text encoder, codec and tokenizer.

        Its weights are another draw than those of `random_twin(seed)`: under null text, where the text
        encoder does not matter, the two are independent controls.
        """
        return self._untrained("untrained decoder", f"random-decoder{seed}", seed, keep_text=True)

    def _untrained(self, kind: str, suffix: str, seed: int, keep_text: bool) -> "MusicgenBackend":
        key = seed_for(kind, seed)
        twin = untrained(self._model, key, keep_text)
        made_from = f"{key}:{self._model.config.to_json_string()}"
        if keep_text:
            made_from += f":{self._info.weights_sha256}"
        digest = sha256(made_from.encode()).hexdigest()
        info = replace(self._info, model_id=f"{self._info.model_id}~{suffix}", weights_sha256=digest)
        return MusicgenBackend(twin, self._tokenizer, info, self._block_clips, self._text_padding)
