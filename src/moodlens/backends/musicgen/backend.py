"""MusicGen in transformers form behind the protocol: own decode loop, capture, teacher forcing, decoding."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from moodlens.attention.words import token_classes
from moodlens.backends import attention
from moodlens.backends.attention import AttentionRecorder
from moodlens.backends.conditioning import EncodedText, encode_text
from moodlens.backends.edits import edited
from moodlens.backends.forks import plan, with_donors
from moodlens.backends.hooks import insert_clips
from moodlens.backends.interventions import Job, donors_of, jobs_of
from moodlens.backends.loaded import LoadedBackend
from moodlens.backends.musicgen.decode_loop import Decoder, generate_block
from moodlens.backends.musicgen.forced import Forced, forced, token_nats
from moodlens.backends.musicgen.fork import Forking
from moodlens.backends.musicgen.melody import MelodyDecoder
from moodlens.backends.musicgen.packed import linears_of, packed, packs
from moodlens.backends.requests import captured_halves, halves_run
from moodlens.backends.sampling import block_uniforms
from moodlens.base.errors import UsageError, must
from moodlens.base.units import steps_for
from moodlens.contracts.backend import (
    Branch,
    Capture,
    ClipRequest,
    Forked,
    Generated,
    ModelInfo,
    Sampling,
    States,
    Stem,
    TextEncoding,
)
from moodlens.contracts.interventions import Donor, Intervention, Reading

BLOCK_CLIPS = 16
"""Clips per decoder block; throughput of one CPU core saturates here. Another value changes last bits."""


class MusicgenBackend(LoadedBackend):
    """A loaded MusicGen: text through cross-attention (mono, stereo, the organism) or prepended (melody).

    Args:
        model: transformers' `MusicgenForConditionalGeneration` or the melody variant, on its device.
        tokenizer: of the text encoder.
        info: description that is stored beside every dataset made with this model.
        block_clips: number of clips that are decoded together.
        text_padding: see `LoadedBackend`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        info: ModelInfo,
        block_clips: int = BLOCK_CLIPS,
        text_padding: str = "mask",
    ) -> None:
        super().__init__(info, text_padding)
        self._model = model.eval()
        self._tokenizer = tokenizer
        melody = model.config.model_type == "musicgen_melody"
        self._decoder = MelodyDecoder.of(model) if melody else Decoder(model.decoder)
        self._block_clips = block_clips

    @property
    def parts(self) -> tuple[Any, PreTrainedTokenizerBase]:
        """The transformers model and its tokenizer, for comparisons with transformers."""
        return self._model, self._tokenizer

    @property
    def decoder(self) -> Decoder:
        """The modules that a decoder step runs through."""
        return self._decoder

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self._decoder.layers)

    @property
    def whole_sites(self) -> Mapping[str, nn.Module]:
        return self._decoder.whole_sites

    def with_info(self, info: ModelInfo) -> "MusicgenBackend":
        """Return the same loaded model under another description."""
        return MusicgenBackend(self._model, self._tokenizer, info, self._block_clips, self._text_padding)

    @torch.inference_mode()
    def encode_text(self, texts: Sequence[str]) -> list[TextEncoding]:
        """Return the text encoding of each prompt; each is a function of its own text only."""
        return [
            TextEncoding(text.tokens, text.hidden.float().cpu().numpy(), text.projected.float().cpu().numpy())
            for text in self._encode(texts)
        ]

    def _encode(self, texts: Sequence[str]) -> list[EncodedText]:
        encoded: dict[str, EncodedText] = {}
        for text in texts:
            if text not in encoded:
                encoded[text] = encode_text(self._model, self._tokenizer, text)
        return [encoded[text] for text in texts]

    @torch.inference_mode()
    def _generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        texts = self._encode([request.text for request in requests])
        codes = np.zeros((len(requests), self._info.n_codebooks, sampling.n_frames), dtype=np.int16)
        states = States()
        with self._packed():
            for block in self._blocks(texts):
                generated = self._generate_block(
                    [texts[i] for i in block], [requests[i] for i in block], sampling, capture
                )
                codes[block] = generated.codes
                insert_clips(states, generated.states, block, len(requests))
        return Generated(codes, states)

    def _packed(self) -> AbstractContextManager[None]:
        linears = linears_of([*self._decoder.layers, self._decoder.heads])
        if not packs(self._decoder.like, sum(linear.weight.nbytes for linear in linears)):
            return nullcontext()
        return packed(linears, 2 * self._block_clips)

    def _token_classes(self, text: str, wording: str) -> np.ndarray:
        """Return the class of every token of a prompt, see `moodlens.attention.words`."""
        spans: Any = self._tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
        return token_classes(text, wording, spans)

    def _width(self, text: EncodedText | None) -> int:
        """Return the number of positions of a text; null text has as many as one token."""
        return self._decoder.width(len(text.tokens) if text is not None else 1, self._text_padding)

    def _blocks(self, texts: Sequence[EncodedText]) -> list[list[int]]:
        """Return the clips of each block: all of one text width, at most `block_clips`."""
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
        n_rows = size * len(halves_run(sampling.guidance_scale, capture.half))
        width = self._width(texts[0])
        block = self._decoder.conditioning(texts, size, n_rows, width, self._text_padding)
        keys = [request.seed_key for request in requests]
        uniforms = block_uniforms(keys, size, n_steps, self._info.n_codebooks)
        rows = {half: slice(at, at + len(texts)) for half, at in (("cond", 0), ("uncond", size))}
        recorder = self._recorder(capture, rows, n_steps, self._decoder.n_prefix(width))
        classes = [self._token_classes(r.text, r.wording) for r in requests] if capture.attention else []
        watcher = AttentionRecorder(self.layers, classes, n_steps, capture.attention)
        with recorder.attached(), watcher.attached():
            codes = generate_block(self._decoder, block, n_rows, uniforms, sampling)
        states = recorder.finish()
        states.attention = watcher.finish()
        return Generated(codes[: len(texts)].cpu().numpy().astype(np.int16), states)

    @torch.inference_mode()
    def _fork(self, stems: Sequence[Stem], branches: Sequence[Branch], sampling: Sampling) -> Forked:
        stems = with_donors(stems, branches)
        asked = [*(stem.text for stem in stems), *(branch.ahead for branch in branches)]
        asked += [one.donor.text for branch in branches for one in donors_of([branch.edits])]
        texts = [text for text in asked if text is not None]
        encoded = dict(zip(texts, self._encode(texts), strict=True))

        def change(jobs: Sequence[Job], n_steps: int, first: int) -> AbstractContextManager[object]:
            return edited(self._edited(jobs), jobs, n_steps, first)

        forking = Forking(
            self._decoder, stems, branches, sampling, encoded, self._text_padding, self._block_clips, change
        )
        codes = np.zeros((len(branches), self._info.n_codebooks, sampling.n_frames), dtype=np.int16)
        nats_per_token = np.zeros(len(branches), dtype=np.float32)

        def width(text: str | None) -> int:
            return self._width(encoded[text] if text is not None else None)

        with self._packed():
            for block in plan(stems, branches, width, self._info.n_layers, self._block_clips):
                for numbers, drawn, nats in forking.results(block):
                    codes[numbers], nats_per_token[numbers] = drawn, nats
        return Forked(codes, nats_per_token)

    def _forced(self, rows: Sequence[tuple[np.ndarray, str | None]], n_null: int = 0) -> tuple[Forced, int]:
        """Return the input of a pass over tokens under texts, and the positions before its first step."""
        texts = [self._encode([text])[0] if text is not None else None for _, text in rows]
        width = max(map(self._width, texts))
        given = [(codes, text) for (codes, _), text in zip(rows, texts, strict=True)]
        passed = forced(self._decoder, given, n_null, width, self._text_padding)
        return passed, self._decoder.n_prefix(width)

    @torch.inference_mode()
    def _teacher_force_clip(
        self,
        codes: np.ndarray,
        text: str | None,
        wording: str,
        capture: Capture,
        edits: Sequence[Intervention],
    ) -> States:
        classes = self._forced_classes(text, wording, capture)
        halves, donors = captured_halves(capture), donors_of([edits])
        # rows: the clip under its text, donors, the clip under null text; or the last one alone
        own = (codes[0], text) if "cond" in halves else (codes[0], None)
        given = [own, *((_tokens(one.donor, codes[0]), one.donor.text) for one in donors)]
        passed, n_prefix = self._forced(given, n_null=int(len(halves) > 1))
        last = len(passed.columns) - 1
        rows = {"cond": slice(0, 1), "uncond": slice(last, last + 1)}
        recorder = self._recorder(capture, rows, passed.n_steps, n_prefix)
        watcher = AttentionRecorder(self.layers, classes, passed.n_steps, capture.attention)
        jobs = jobs_of([edits], donors, {half: rows[half].start for half in halves}, 1)
        changes = edited(self._edited(jobs), jobs, passed.n_steps, n_prefix=n_prefix)
        with changes, recorder.attached(), watcher.attached():
            states = self._decoder.states(passed.inputs, passed.text, None)
            if "logits" in capture.sites:
                self._decoder.heads(states)
        recorded = recorder.finish()
        recorded.attention = watcher.finish()
        return recorded

    @torch.inference_mode()
    def _score(self, readings: Sequence[Reading]) -> np.ndarray:
        groups = [list(group) for _, group in groupby(readings, key=lambda one: one.codes.tobytes())]
        size = self._block_clips
        parts = [group[at : at + size] for group in groups for at in range(0, len(group), size)]
        return np.concatenate([self._score_clip(part) for part in parts])

    def _score_clip(self, readings: Sequence[Reading]) -> np.ndarray:
        """Return -ln p of the tokens of readings that have the same tokens."""
        codes, edits = readings[0].codes, [reading.edits for reading in readings]
        donors = donors_of(edits, one_clip=True)
        given = [(codes, reading.text) for reading in readings]
        given += [(_tokens(one.donor, codes), one.donor.text) for one in donors]
        passed, n_prefix = self._forced(given)
        jobs = jobs_of(edits, donors, {"cond": 0}, len(readings), one_clip=True)
        with edited(self._edited(jobs), jobs, passed.n_steps, n_prefix=n_prefix):
            states = self._decoder.states(passed.inputs, passed.text, None)
        return token_nats(self._decoder, states, passed)[: len(readings)]

    def _forced_classes(self, text: str | None, wording: str, capture: Capture) -> list[np.ndarray]:
        """Return the token classes of the one clip under teacher forcing; [] without attention summaries."""
        if not capture.attention:
            return []
        if text is None or capture.half == "uncond":
            rule = "be watched under a text in the conditional half"
            raise UsageError(must("attention", rule, "null text", next_step="Capture it without attention"))
        return [self._token_classes(text, wording)]

    @torch.inference_mode()
    def _decode(self, codes: np.ndarray) -> np.ndarray:
        codec, n_channels = self._model.audio_encoder, self._decoder.n_channels
        waveforms = []
        for clip in torch.from_numpy(codes.astype(np.int64)).to(codec.device):
            # codebooks of left and right are interleaved
            channels = [
                codec.decode(clip[None, None, channel::n_channels], [None]).audio_values[0, 0]
                for channel in range(n_channels)
            ]
            waveform = torch.stack(channels) if n_channels > 1 else channels[0]
            waveforms.append(waveform.float().cpu().numpy())
        return np.stack(waveforms)

    @torch.inference_mode()
    def _token_vectors(self, codes: np.ndarray) -> np.ndarray:
        codec, n_channels = self._model.audio_encoder, self._decoder.n_channels
        books = codec.quantizer.layers
        tokens = torch.from_numpy(codes.astype(np.int64)).to(codec.device)
        vectors = [books[k // n_channels].codebook.embed[tokens[:, k]] for k in range(codes.shape[1])]
        return torch.stack(vectors, dim=1).float().cpu().numpy()

    def _untrained_from(self, key: int, keep_text: bool) -> str:
        text_source = f":{self._info.weights_sha256}" if keep_text else ""
        return f"{key}:{self._model.config.to_json_string()}{text_source}"

    def _untrained(self, key: int, keep_text: bool, info: ModelInfo) -> "MusicgenBackend":
        twin = untrained(self._model, key, keep_text)
        return MusicgenBackend(twin, self._tokenizer, info, self._block_clips, self._text_padding)


def _tokens(donor: Donor, recipients: np.ndarray) -> np.ndarray:
    return recipients if donor.codes is None else donor.codes


def untrained(model: Any, key: int, keep_text: bool) -> Any:
    """Return an untrained model of the same class, type and device, with the codec of `model`.

    Args:
        model: a MusicGen of transformers.
        key: seed of the weights.
        keep_text: whether the trained text encoder is kept too.
    """
    with torch.random.fork_rng(devices=[]), default_dtype(model.dtype):
        torch.manual_seed(key)
        twin = type(model)(deepcopy(model.config))
    twin.audio_encoder = model.audio_encoder
    if keep_text:
        twin.text_encoder = model.text_encoder
    twin.to(model.dtype)
    twin.to(model.device)
    twin.decoder.set_attn_implementation(attention.NAME)
    return twin


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Create new parameters in `dtype`, so that an untrained twin in half precision never is in float32."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
