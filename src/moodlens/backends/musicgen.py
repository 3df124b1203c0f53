"""MusicGen in transformers form behind the protocol: own decode loop, capture, teacher forcing, decoding."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from transformers import MusicgenForConditionalGeneration, PreTrainedTokenizerBase

from moodlens.attention.words import token_classes
from moodlens.backends import attention
from moodlens.backends.attention_summary import AttentionRecorder
from moodlens.backends.conditioning import (
    EncodedText,
    attended_tokens,
    conditioning,
    encode_text,
    text_width,
)
from moodlens.backends.decode_loop import Decoder, generate_block
from moodlens.backends.hooks import SITES, Recorder, captured_halves, captured_modules
from moodlens.backends.sampling import block_uniforms
from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import seed_for
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay
from moodlens.contracts.backend import (
    Capture,
    ClipRequest,
    Generated,
    ModelInfo,
    Sampling,
    States,
    TextEncoding,
)
from moodlens.contracts.tensors import hookpoint

BLOCK_CLIPS = 16
"""Clips per decoder block; throughput of one CPU core saturates here. Another value changes last bits."""


class MusicgenBackend:
    """A loaded MusicGen with text through cross-attention (small, medium, large, the organism).

    Args:
        model: the weights, in evaluation mode, on their device.
        tokenizer: of the text encoder.
        info: what is stored beside every dataset made with this model.
        block_clips: clips decoded side by side.
        text_padding: `mask` (as transformers: a clip does not depend on its mates) or `attend` (as
            audiocraft); see `conditioning.attended_tokens`. Texts of equal length give the same under both.
    """

    def __init__(
        self,
        model: MusicgenForConditionalGeneration,
        tokenizer: PreTrainedTokenizerBase,
        info: ModelInfo,
        block_clips: int = BLOCK_CLIPS,
        text_padding: str = "mask",
    ) -> None:
        attended_tokens([], text_padding)  # refuses an unknown policy before any work
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._info = info
        self._decoder = Decoder(model.decoder)
        self._block_clips = block_clips
        self._text_padding = text_padding

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def parts(self) -> tuple[MusicgenForConditionalGeneration, PreTrainedTokenizerBase]:
        """The stock model and tokenizer inside, for comparisons with transformers."""
        return self._model, self._tokenizer

    def with_info(self, info: ModelInfo) -> "MusicgenBackend":
        """Return the same loaded model under another description."""
        return MusicgenBackend(self._model, self._tokenizer, info, self._block_clips, self._text_padding)

    def hookpoints(self) -> list[str]:
        """Return every hookpoint of this model, site by site."""
        return [hookpoint(site, layer) for site in SITES for layer in range(self._info.n_layers)]

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
        if not requests or sampling.n_frames < 1:
            got = f"{len(requests)} clips, {sampling.n_frames} frames"
            raise UsageError(must("a request", "ask for clips and frames", got, next_step="Add prompts"))
        texts = self._encode([request.text for request in requests])
        codes = np.zeros((len(requests), self._info.n_codebooks, sampling.n_frames), dtype=np.int16)
        values: dict[str, np.ndarray] = {}
        attended: dict[str, np.ndarray] = {}
        n_attended = attended_tokens(texts, self._text_padding)
        for block in self._blocks(texts, n_attended):
            keys = [requests[i].seed_key for i in block]
            classes = self._classes([requests[i] for i in block]) if capture.attention else []
            found = self._generate_block(
                [texts[i] for i in block], keys, sampling, capture, n_attended, classes
            )
            codes[block] = found.codes
            _place(values, found.states.values, block, len(requests))
            _place(attended, found.states.attention, block, len(requests))
        return Generated(codes, States(values, attended))

    def _classes(self, requests: Sequence[ClipRequest]) -> list[np.ndarray]:
        return [self._token_classes(request.text, request.wording) for request in requests]

    def _token_classes(self, text: str, wording: str) -> np.ndarray:
        """Return the class of every token of a prompt, see `moodlens.attention.words`."""
        spans: Any = self._tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        return token_classes(text, wording, spans)

    def _blocks(self, texts: Sequence[EncodedText], n_attended: int) -> list[list[int]]:
        """Return the clips of each block: one text width, at most `block_clips`."""
        widths: dict[int, list[int]] = {}
        for i, text in enumerate(texts):
            widths.setdefault(text_width(max(len(text.tokens), n_attended)), []).append(i)
        size = self._block_clips
        return [clips[at : at + size] for clips in widths.values() for at in range(0, len(clips), size)]

    def _generate_block(
        self,
        texts: Sequence[EncodedText],
        seed_keys: Sequence[int],
        sampling: Sampling,
        capture: Capture,
        n_attended: int,
        classes: Sequence[np.ndarray],
    ) -> Generated:
        size = self._block_clips
        n_steps = steps_for(sampling.n_frames, self._info.n_codebooks)
        both = sampling.guidance_scale != 1 or capture.half != "cond"
        width = text_width(max(len(texts[0].tokens), n_attended))
        block = conditioning(texts, size, width, texts[0].projected, n_attended)
        uniforms = block_uniforms(seed_keys, size, n_steps, self._info.n_codebooks)
        rows = {half: slice(at, at + len(texts)) for half, at in (("cond", 0), ("uncond", size))}
        recorder = self._recorder(capture, rows, n_steps)
        watcher = AttentionRecorder(list(self._decoder.layers), classes, n_steps, capture.attention)
        with recorder.attached(), watcher.attached():
            codes = generate_block(self._decoder, block, size * (2 if both else 1), uniforms, sampling)
        states = States(recorder.finish(), watcher.finish())
        return Generated(codes[: len(texts)].cpu().numpy().astype(np.int16), states)

    def _recorder(self, capture: Capture, rows: Mapping[str, slice], n_steps: int) -> Recorder:
        wanted = {half: rows[half] for half in captured_halves(capture)}
        return Recorder(captured_modules(list(self._decoder.layers), capture), wanted, n_steps)

    @torch.inference_mode()
    def teacher_force(
        self,
        codes: np.ndarray,
        texts: Sequence[str | None],
        capture: Capture,
        wordings: Sequence[str] | None = None,
    ) -> States:
        """Return the states of a full pass over given tokens, with the true delay pattern and start token.

        One clip at a time, so that a clip's states do not depend on its mates.

        Args:
            codes: (clip, codebook, frame), integers in [0, codebook_size).
            texts: per clip the prompt, or None for null text (zero after projection).
            capture: what to record; `cond` is the half under `texts`, `uncond` the one under null text.
            wordings: per clip the words that bear emotion, where attention is summarised.

        Raises:
            UsageError: attention under null text is asked for, the number of texts is not the number of
                clips, or tokens lie outside the codebook.
        """
        self._check_codes(codes, len(texts))
        values: dict[str, np.ndarray] = {}
        attended: dict[str, np.ndarray] = {}
        encoded = [self._encode([text])[0] if text is not None else None for text in texts]
        n_attended = attended_tokens(encoded, self._text_padding)
        for i, found in enumerate(encoded):
            classes = self._watched(texts[i], "" if wordings is None else wordings[i], capture)
            states = self._teacher_force_one(codes[i : i + 1], found, capture, n_attended, classes)
            _place(values, states.values, [i], len(texts))
            _place(attended, states.attention, [i], len(texts))
        return States(values, attended)

    def _watched(self, text: str | None, wording: str, capture: Capture) -> list[np.ndarray]:
        if not capture.attention:
            return []
        if text is None or capture.half == "uncond":
            rule = "be watched under a text in the conditional half"
            raise UsageError(must("attention", rule, "null text", next_step="Capture it without attention"))
        return [self._token_classes(text, wording)]

    def _check_codes(self, codes: np.ndarray, n_texts: int) -> None:
        if codes.ndim != 3 or codes.shape[0] != n_texts or codes.shape[1] != self._info.n_codebooks:
            rule = f"have the shape ({n_texts} clips, {self._info.n_codebooks} codebooks, frames)"
            raise UsageError(must("codes", rule, codes.shape, next_step="Give one text per clip"))
        if codes.size and not (codes.min() >= 0 and codes.max() < self._info.codebook_size):
            rule = f"lie in 0..{self._info.codebook_size - 1}"
            got = f"{codes.min()}..{codes.max()}"
            raise UsageError(must("codes", rule, got, next_step="Undo the delay pattern before re-encoding"))

    def _teacher_force_one(
        self,
        codes: np.ndarray,
        text: EncodedText | None,
        capture: Capture,
        n_attended: int,
        classes: Sequence[np.ndarray],
    ) -> States:
        columns = apply_delay(torch.from_numpy(codes.astype(np.int64)), self._decoder.pad_id)[:, :, :-1]
        halves = captured_halves(capture)
        width = text_width(max(len(text.tokens) if text is not None else 1, n_attended))
        given = [text] if text is not None and "cond" in halves else []
        like = self._decoder.lm.model.decoder.layer_norm.weight
        block = conditioning(given, 1, width, like, n_attended)
        rows = {half: slice(row, row + 1) for row, half in enumerate(halves)}
        recorder = self._recorder(capture, rows, columns.shape[-1])
        watcher = AttentionRecorder(list(self._decoder.layers), classes, columns.shape[-1], capture.attention)
        with recorder.attached(), watcher.attached():
            self._decoder.states(columns.repeat(len(halves), 1, 1).to(like.device), block, None)
        return States(recorder.finish(), watcher.finish())

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the waveform of each clip, (clip, sample) float32, decoded one clip at a time."""
        self._check_codes(codes, len(codes))
        codec: Any = self._model.audio_encoder
        waveforms = []
        for clip in torch.from_numpy(codes.astype(np.int64)).to(self._model.device):
            audio = codec.decode(clip[None, None], [None]).audio_values
            waveforms.append(audio[0, 0].float().cpu().numpy())
        return np.stack(waveforms)

    def random_twin(self, seed: int) -> "MusicgenBackend":
        """Return the same architecture with untrained weights from `seed`; codec and tokenizer are kept."""
        key = seed_for("untrained twin", seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key)
            twin = MusicgenForConditionalGeneration(deepcopy(self._model.config))
        twin.audio_encoder = self._model.audio_encoder
        twin.to(self._model.dtype)  # type: ignore[arg-type]
        twin.to(self._model.device)  # type: ignore[arg-type]
        twin.decoder.set_attn_implementation(attention.NAME)
        digest = sha256(f"{key}:{self._model.config.to_json_string()}".encode()).hexdigest()
        info = replace(self._info, model_id=f"{self._info.model_id}~random{seed}", weights_sha256=digest)
        return MusicgenBackend(twin, self._tokenizer, info, self._block_clips, self._text_padding)


def _place(
    values: dict[str, np.ndarray], found: Mapping[str, np.ndarray], clips: Sequence[int], n_clips: int
) -> None:
    """Put the states of some clips into the arrays of all; a block that holds all is taken as it is."""
    for key, states in found.items():
        if list(clips) == list(range(n_clips)):
            values[key] = states
            continue
        if key not in values:
            values[key] = np.zeros((n_clips, *states.shape[1:]), dtype=states.dtype)
        values[key][list(clips)] = states
