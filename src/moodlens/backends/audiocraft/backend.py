"""audiocraft's own models behind the protocol: MusicGen in every layout, AudioGen on the same code.

`model.id: audiocraft:<folder>` names a folder in audiocraft layout. audiocraft does the arithmetic (language
model in streaming mode, conditioners, codec); guidance, noise and the delay pattern are ours, so the same
weights draw the same tokens here and in `MusicgenBackend`, sampled or greedy. Clips run one by one: this is
the reference and the way to models that transformers cannot express, not the fast way.

MAGNeT is refused: it fills in whole sequences in masked passes, so a state belongs to no decoder step.
"""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from moodlens.backends.audiocraft.stand_ins import import_audiocraft
from moodlens.backends.conditioning import check_padding, text_width
from moodlens.backends.edits import patched, sites_of
from moodlens.backends.hooks import Recorder, captured_halves, captured_modules, place, present_sites
from moodlens.backends.musicgen.decode_loop import real_outputs
from moodlens.backends.sampling import clip_uniforms, draw_tokens, guided
from moodlens.backends.validate_requests import check_codes, check_requests
from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import seed_for
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay, undo_delay
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

SITES = {
    "residual": lambda layer: layer,
    "self_attention": lambda layer: layer.get_submodule("self_attn"),
    "cross_attention": lambda layer: layer.get_submodule("cross_attention"),
    "mlp": lambda layer: layer.get_submodule("linear2"),
}
"""As `hooks.SITES`, by the names of audiocraft's transformer layer."""


class AudiocraftBackend:
    """A loaded `audiocraft.models.MusicGen` or `AudioGen`.

    Args:
        model: the object; it must generate with the delay pattern.
        info: what is stored beside every dataset made with this model.
        text_padding: see `conditioning.check_padding`.
    """

    def __init__(self, model: Any, info: ModelInfo, text_padding: str = "mask") -> None:
        self._text_padding = check_padding(text_padding)
        self._model = model
        self._lm = model.lm.eval()
        self._info = info
        self._layers: list[nn.Module] = list(self._lm.transformer.layers)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def _n_channels(self) -> int:
        return self._info.audio_channels

    @property
    def _text(self) -> Any:
        return self._lm.condition_provider.conditioners["description"]

    def hookpoints(self) -> list[str]:
        """Return every hookpoint of this model, site by site."""
        sites = present_sites(self._layers[0], SITES)
        layered = [hookpoint(site, layer) for site in sites for layer in range(len(self._layers))]
        return [*layered, *(hookpoint(site, 0) for site in self._whole_sites)]

    @property
    def _whole_sites(self) -> dict[str, nn.Module]:
        """The final norm; the sum of embeddings and the joint logits are no modules here."""
        return {"final_norm": self._lm.out_norm}

    def _modules(self, capture: Capture) -> dict[str, nn.Module]:
        return captured_modules(self._layers, capture, self._whole_sites, SITES)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> list[TextEncoding]:
        """Return the text encoding of each prompt, alone in its batch."""
        found = []
        for text in texts:
            _check_text(text)
            inputs = self._text.tokenize([text])
            hidden = self._text.t5(**inputs).last_hidden_state[0]
            projected = self._text.output_proj(hidden.to(self._text.output_proj.weight))
            tokens = tuple(self._text.t5_tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist()))
            found.append(TextEncoding(tokens, hidden.float().cpu().numpy(), projected.float().cpu().numpy()))
        return found

    @torch.no_grad()
    def generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        """Draw the clips, one by one.

        Raises:
            UsageError: there is nothing to generate, or the capture names what this model lacks.
            ContractError: a hook did not record every step exactly once.
        """
        check_requests(requests, sampling)
        made = [self._generate_one(request, sampling, capture) for request in requests]
        states = States()
        for i, one in enumerate(made):
            place(states, one.states, [i], len(made))
        return Generated(np.concatenate([one.codes for one in made]), states)

    def _generate_one(self, request: ClipRequest, sampling: Sampling, capture: Capture) -> Generated:
        _check_text(request.text)
        n_codebooks, pad_id = self._info.n_codebooks, self._lm.special_token_id
        n_steps = steps_for(sampling.n_frames, self._info.n_delays)
        both = sampling.guidance_scale != 1 or capture.half != "cond"
        halves = ("cond", "uncond") if both else ("cond",)
        conditions, n_prefix = self._conditions([request.text] + [None] * (len(halves) - 1))
        recorder = self._recorder(capture, halves, n_steps, n_prefix)
        uniforms = torch.from_numpy(clip_uniforms(request.seed_key, n_steps, n_codebooks))
        columns = torch.full((1, n_codebooks, n_steps + 1), pad_id, dtype=torch.long, device=self._device)
        real = torch.tensor(list(real_outputs(n_steps, n_codebooks, self._n_channels)), device=self._device)
        with recorder.attached(), self._lm.streaming():
            for step in range(n_steps):
                column = columns[:, :, step : step + 1].repeat(len(halves), 1, 1)
                logits = self._lm(column, [], conditions)[:, :, -1].float()
                if both and sampling.guidance_scale != 1:
                    logits = guided(logits[:1], logits[1:], sampling.guidance_scale)
                tokens = draw_tokens(logits[:1], uniforms[None, step].to(self._device), sampling)
                columns[:, :, step + 1] = torch.where(real[step], tokens, pad_id)
        codes = undo_delay(columns, self._n_channels).cpu().numpy().astype(np.int16)
        return Generated(codes, recorder.finish())

    @property
    def _device(self) -> torch.device:
        return next(self._lm.parameters()).device

    def _conditions(self, texts: Sequence[str | None]) -> tuple[dict[str, tuple[Tensor, Tensor]], int]:
        """Return what audiocraft's language model is conditioned on, one row per text; None is null text."""
        attributes, _ = self._model._prepare_tokens_and_attributes(list(texts), None)
        provider = self._lm.condition_provider
        conditions = dict(provider(provider.tokenize(attributes)))
        hidden, mask = conditions["description"]
        if self._text_padding == "attend":
            empty = text_width(hidden.shape[1]) - hidden.shape[1]
            hidden, mask = pad(hidden, (0, 0, 0, empty)), pad(mask, (0, empty))
            conditions["description"] = hidden, mask
        prepended = self._lm.fuser.fuse2cond["prepend"]
        return conditions, sum(conditions[name][0].shape[1] for name in prepended)

    def _recorder(self, capture: Capture, rows_of: Sequence[str], n_steps: int, n_prefix: int) -> Recorder:
        if capture.attention:
            rule, advice = (
                "be false with audiocraft, which forms no weights",
                "Convert the checkpoint, or set it",
            )
            raise UsageError(must("generate.attention", rule, True, next_step=advice))
        modules = self._modules(capture)
        rows = {
            half: slice(rows_of.index(half), rows_of.index(half) + 1) for half in captured_halves(capture)
        }
        return Recorder(modules, rows, n_steps, capture, self._info.n_delays, n_prefix)

    @torch.no_grad()
    def teacher_force(
        self,
        codes: np.ndarray,
        texts: Sequence[str | None],
        capture: Capture,
        patches: Sequence[Patch] = (),
        wordings: Sequence[str] | None = None,
    ) -> States:
        """Return the states of a full pass over given tokens; arguments as in `MusicgenBackend`."""
        check_codes(codes, len(texts), self._info)
        states = States()
        edited = self._modules(Capture(sites_of(patches)))
        for i, (clip, text) in enumerate(zip(codes, texts, strict=True)):
            tokens = torch.from_numpy(clip[None].astype(np.int64)).to(self._device)
            columns = apply_delay(tokens, self._lm.special_token_id, self._n_channels)[:, :, :-1]
            # both rows are tokenised together, so the null half has as many places as the text
            conditions, n_prefix = self._conditions([text, None])
            n_steps = columns.shape[-1]
            recorder = self._recorder(capture, ("cond", "uncond"), n_steps, n_prefix)
            mine = [replace(patch, values=patch.values[i : i + 1]) for patch in patches]
            rows = {"cond": slice(0, 1), "uncond": slice(1, 2)}
            with patched(edited, mine, rows, n_steps, n_prefix), recorder.attached():
                self._lm(columns.repeat(2, 1, 1), [], conditions)
            place(states, recorder.finish(), [i], len(texts))
        return states

    @torch.no_grad()
    def token_vectors(self, codes: np.ndarray) -> np.ndarray:
        """Return the codec's vector of every token, (clip, codebook, frame, d_codec) float32."""
        codec = self._model.compression_model
        books = (codec.model if self._n_channels > 1 else codec).quantizer.vq.layers
        given = torch.from_numpy(codes.astype(np.int64)).to(self._device)
        vectors = [books[k // self._n_channels].decode(given[:, k]) for k in range(codes.shape[1])]
        return torch.stack(vectors, dim=1).transpose(2, 3).float().cpu().numpy()

    @torch.no_grad()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the waveform of each clip, (clip, sample), in stereo (clip, channel, sample), float32."""
        audio = [
            self._model.compression_model.decode(
                torch.from_numpy(clip[None].astype(np.int64)).to(self._device)
            )
            for clip in codes
        ]
        joined = torch.cat(audio).float().cpu().numpy()
        return joined if self._n_channels > 1 else joined[:, 0]

    def random_twin(self, seed: int) -> "AudiocraftBackend":
        """Return the same architecture with untrained weights, text encoder included; the codec is kept."""
        return self._untrained("untrained twin", f"random{seed}", seed, keep_text=False)

    def random_decoder(self, seed: int) -> "AudiocraftBackend":
        """Return an untrained decoder and projection behind the trained text encoder and codec."""
        return self._untrained("untrained decoder", f"random-decoder{seed}", seed, keep_text=True)

    def _untrained(self, kind: str, suffix: str, seed: int, keep_text: bool) -> "AudiocraftBackend":
        import_audiocraft()
        from audiocraft.models import builders
        from transformers import T5EncoderModel

        key = seed_for(kind, seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key)
            language = builders.get_lm_model(self._lm.cfg)
            text: Any = language.condition_provider.conditioners["description"]
            fresh: Any = T5EncoderModel(text.t5.config)
        text.__dict__["t5"] = self._text.t5 if keep_text else fresh.eval().to(self._device)
        # without a cfg the codec is taken as it is: in stereo it is wrapped already
        codec, longest = self._model.compression_model, self._model.max_duration
        twin = type(self._model)(self._model.name, codec, language, longest)
        language.cfg = self._lm.cfg
        digest = sha256(f"{key}:{self._info.weights_sha256}".encode()).hexdigest()
        info = replace(self._info, model_id=f"{self._info.model_id}~{suffix}", weights_sha256=digest)
        return AudiocraftBackend(twin, info, self._text_padding)


def _check_text(text: str) -> None:
    if not text.strip():
        raise UsageError(
            must("a prompt", "hold words", text, next_step="Null text is None, not an empty prompt")
        )
