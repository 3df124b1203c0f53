"""audiocraft's own models behind the protocol: MusicGen in every layout, AudioGen on the same code.

`model.id: audiocraft:<folder>` names a folder in audiocraft layout. audiocraft does the arithmetic (language
model in streaming mode, conditioners, codec). Guidance, noise and the delay pattern are those of MoodLens, so
the same weights give the same tokens here and in `MusicgenBackend`, sampled or greedy. Clips run one by one:
this backend is the reference, and it runs models that transformers cannot express; it is not fast.

MAGNeT is refused: it fills whole sequences in masked passes, so its states belong to no decoder step.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from moodlens.backends.audiocraft.fork import State, Stream, give_donor, state_at
from moodlens.backends.audiocraft.stand_ins import import_audiocraft
from moodlens.backends.conditioning import text_width
from moodlens.backends.edits import edited
from moodlens.backends.forks import plan, with_donors
from moodlens.backends.hooks import FindSite, insert_clips
from moodlens.backends.interventions import donors_of, jobs_of
from moodlens.backends.loaded import LoadedBackend
from moodlens.backends.musicgen.decode_loop import real_outputs
from moodlens.backends.requests import check_prompt, halves_run
from moodlens.backends.sampling import clip_uniforms, draw_tokens, guided, nats
from moodlens.base.errors import UsageError, must
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay, undo_delay
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
from moodlens.contracts.interventions import Intervention, Reading

SITES: Mapping[str, FindSite] = {
    "residual": lambda layer: layer,
    "self_attention": lambda layer: layer.get_submodule("self_attn"),
    "cross_attention": lambda layer: layer.get_submodule("cross_attention"),
    "mlp": lambda layer: layer.get_submodule("linear2"),
}
"""As `hooks.SITES`, in the names of audiocraft's transformer layer."""
ROWS = {"cond": slice(0, 1), "uncond": slice(1, 2)}
"""Half -> its row; a clip runs alone."""
NOT_RECORDED = nullcontext()


class AudiocraftBackend(LoadedBackend):
    """A loaded `audiocraft.models.MusicGen` or `AudioGen`.

    Args:
        model: the object; it must generate with the delay pattern.
        info: description that is stored beside every dataset made with this model.
        text_padding: see `LoadedBackend`.
    """

    sites = SITES

    def __init__(self, model: Any, info: ModelInfo, text_padding: str = "mask") -> None:
        super().__init__(info, text_padding)
        self._model = model
        self._lm = model.lm.eval()

    @property
    def layers(self) -> Sequence[nn.Module]:
        return list(self._lm.transformer.layers)

    @property
    def whole_sites(self) -> Mapping[str, nn.Module]:
        """The final norm only: audiocraft has no module for the summed embeddings or the joint logits."""
        return {"final_norm": self._lm.out_norm}

    @property
    def _n_channels(self) -> int:
        return self._info.audio_channels

    @property
    def _text(self) -> Any:
        return self._lm.condition_provider.conditioners["description"]

    @property
    def _device(self) -> torch.device:
        return next(self._lm.parameters()).device

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> list[TextEncoding]:
        """Return the text encoding of each prompt, alone in its batch."""
        encoded = []
        for text in texts:
            check_prompt(text)
            inputs = self._text.tokenize([text])
            hidden = self._text.t5(**inputs).last_hidden_state[0]
            projected = self._text.output_proj(hidden.to(self._text.output_proj.weight))
            tokens = tuple(self._text.t5_tokenizer.convert_ids_to_tokens(inputs["input_ids"][0].tolist()))
            arrays = (states.float().cpu().numpy() for states in (hidden, projected))
            encoded.append(TextEncoding(tokens, *arrays))
        return encoded

    def _generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        clips = [self._generate_clip(request, sampling, capture) for request in requests]
        states = States()
        for i, clip in enumerate(clips):
            insert_clips(states, clip.states, [i], len(clips))
        return Generated(np.concatenate([clip.codes for clip in clips]), states)

    @torch.no_grad()
    def _generate_clip(self, request: ClipRequest, sampling: Sampling, capture: Capture) -> Generated:
        check_prompt(request.text)
        _check_no_attention(capture)
        n_steps = steps_for(sampling.n_frames, self._info.n_delays)
        halves = halves_run(sampling.guidance_scale, capture.half)
        conditions, n_prefix = self._conditions([request.text] + [None] * (len(halves) - 1))
        recorder = self._recorder(capture, ROWS, n_steps, n_prefix)
        columns = self._empty(n_steps)
        with recorder.attached(), self._lm.streaming():
            self._draw(Stream(columns, conditions, len(halves)), request.seed_key, sampling)
        codes = undo_delay(columns, self._n_channels).cpu().numpy().astype(np.int16)
        return Generated(codes, recorder.finish())

    def _empty(self, n_steps: int) -> Tensor:
        shape = 1, self._info.n_codebooks, n_steps + 1
        return torch.full(shape, self._lm.special_token_id, dtype=torch.long, device=self._device)

    def _draw(
        self,
        clip: Stream,
        seed_key: int,
        sampling: Sampling,
        first: int = 0,
        edits: Sequence[Intervention] = (),
        donors: Sequence[Stream] = (),
    ) -> float:
        """Draw the tokens of all steps from `first` on and return their mean -ln p.

        Args:
            clip: what is drawn; its state is that of the language model.
            seed_key: of its noise.
            sampling: how tokens are drawn.
            first: first step that is drawn.
            edits: interventions on the clip.
            donors: passes beside it, in the order of `donors_of`.
        """
        n_codebooks, n_steps, columns = self._info.n_codebooks, clip.n_steps, clip.columns
        uniforms = torch.from_numpy(clip_uniforms(seed_key, n_steps, n_codebooks)).to(self._device)
        real = torch.tensor(list(real_outputs(n_steps, n_codebooks, self._n_channels)), device=self._device)
        jobs = jobs_of([edits], donors_of([edits]), {"cond": 0, "uncond": 1}, clip.n_halves)
        modules = self._edited(jobs)
        beside: dict[str, Tensor] = {}
        losses = []
        with edited(modules, jobs, n_steps, first, beside=beside.__getitem__ if donors else None) as switch:
            for step in range(first, n_steps):
                if donors:
                    switch.on = False
                    seen = [donor.outputs(self._lm, step, modules) for donor in donors]
                    beside.update({name: torch.cat([one[name] for one in seen]) for name in modules})
                    switch.on = True
                    self._lm.set_streaming_state(clip.state)
                logits = clip.logits(self._lm, step)[:, :, -1].float()
                if donors:
                    clip.state = self._lm.get_streaming_state()
                logits = guided(logits, 1, sampling.guidance_scale)
                tokens = draw_tokens(logits, uniforms[None, step], sampling)
                columns[:, :, step + 1] = torch.where(real[step], tokens, self._lm.special_token_id)
                losses.append(nats(logits, tokens)[0, real[step]])
        return float(torch.cat(losses).double().mean())

    @torch.no_grad()
    def _fork(self, stems: Sequence[Stem], branches: Sequence[Branch], sampling: Sampling) -> Forked:
        stems = with_donors(stems, branches)
        codes = np.zeros((len(branches), self._info.n_codebooks, sampling.n_frames), dtype=np.int16)
        nats_per_token = np.zeros(len(branches), dtype=np.float32)
        n_halves = len(halves_run(sampling.guidance_scale, "cond"))
        # a clip runs alone, at the width of its own text: a block holds a stem and its donor
        for block in plan(stems, branches, lambda _text: 1, self._info.n_layers, 2):
            last = block.branch_blocks[-1].step
            fed = {feed: self._fed(stems[feed.stem], last, n_halves) for feed in block.feeds}
            for route in (route for part in block.branch_blocks for route in part.routes):
                branch, (known, cached) = branches[route.branch], fed[route.base]
                columns = self._empty(known.shape[-1] - 1)
                columns[:, :, : branch.step + 1] = known[:, :, : branch.step + 1]
                state = state_at(self._lm, cached, branch.step)
                if route.donor is not None:
                    give_donor(self._lm, state, fed[route.donor][1], route.layers, route.window)
                conditions, _ = self._conditions([branch.ahead] + [None] * (n_halves - 1))
                clip = Stream(columns, conditions, n_halves, state)
                donors = []
                for one, feed in zip(donors_of([branch.edits]), route.beside, strict=True):
                    own = columns if one.donor.codes is None else self._columns(one.donor.codes)
                    prefix = state_at(self._lm, fed[feed][1], branch.step)
                    alone = {name: value[:1] if value.dim() else value for name, value in prefix.items()}
                    donors.append(Stream(own, self._conditions([one.donor.text])[0], 1, alone))
                key = stems[branch.stem].seed_key
                with self._lm.streaming():
                    self._lm.set_streaming_state(state)
                    mean = self._draw(clip, key, sampling, branch.step, branch.edits, donors)
                codes[route.branch] = undo_delay(columns, self._n_channels)[0].cpu().numpy()
                nats_per_token[route.branch] = mean
        return Forked(codes, nats_per_token)

    def _columns(self, codes: np.ndarray) -> Tensor:
        """Return tokens (codebook, frame) with delays, (1, codebook, column)."""
        tokens = torch.from_numpy(codes[None].astype(np.int64)).to(self._device)
        return apply_delay(tokens, self._lm.special_token_id, self._n_channels)

    def _fed(self, stem: Stem, n_steps: int, n_halves: int) -> tuple[Tensor, State]:
        """Return the tokens of a stem with delays, and the streaming state after `n_steps` steps."""
        conditions, _ = self._conditions([stem.text] + [None] * (n_halves - 1))
        stream = Stream(self._columns(stem.codes), conditions, n_halves)
        with self._lm.streaming():
            for step in range(n_steps):
                stream.logits(self._lm, step)
            return stream.columns, self._lm.get_streaming_state()

    def _conditions(self, texts: Sequence[str | None]) -> tuple[dict[str, tuple[Tensor, Tensor]], int]:
        """Return the conditions of audiocraft's language model, one row per text, and the prefix length.

        A text of None is null text.
        """
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

    @torch.no_grad()
    def _teacher_force_clip(
        self,
        codes: np.ndarray,
        text: str | None,
        wording: str,
        capture: Capture,
        edits: Sequence[Intervention],
    ) -> States:
        _check_no_attention(capture)
        columns = self._columns(codes[0])
        # both rows are tokenised together, so null text has as many positions as the text
        conditions, n_prefix = self._conditions([text, None])
        recorder = self._recorder(capture, ROWS, columns.shape[-1] - 1, n_prefix)
        self._forced(columns, conditions, 2, n_prefix, edits, recorder.attached())
        return recorder.finish()

    def _forced(
        self,
        columns: Tensor,
        conditions: dict[str, tuple[Tensor, Tensor]],
        n_halves: int,
        n_prefix: int,
        edits: Sequence[Intervention],
        recording: AbstractContextManager[object] = NOT_RECORDED,
    ) -> Tensor:
        """Return the logits of a whole pass over tokens with delays, (half, codebook, step, entry)."""
        donors = donors_of([edits])
        jobs = jobs_of([edits], donors, {"cond": 0, "uncond": 1}, n_halves)
        modules, n_steps = self._edited(jobs), columns.shape[-1] - 1
        seen = []
        for one in donors:
            own = columns if one.donor.codes is None else self._columns(one.donor.codes)
            alone = Stream(own, self._conditions([one.donor.text])[0], 1)
            seen.append(alone.outputs(self._lm, None, modules))
        beside = {name: torch.cat([one[name] for one in seen]) for name in modules if seen}
        clip = Stream(columns, conditions, n_halves)
        changes = edited(modules, jobs, n_steps, 0, n_prefix, beside.__getitem__ if seen else None)
        with changes, recording:
            return clip.logits(self._lm, None)

    @torch.no_grad()
    def _score(self, readings: Sequence[Reading]) -> np.ndarray:
        delays = torch.arange(self._info.n_codebooks) // self._n_channels
        out = []
        for reading in readings:
            columns = self._columns(reading.codes)
            conditions, n_prefix = self._conditions([reading.text])
            logits = self._forced(columns, conditions, 1, n_prefix, reading.edits)[0].float()
            targets = columns[0, :, 1:].clamp(max=logits.shape[-1] - 1)
            of_step = -logits.log_softmax(-1).gather(-1, targets[:, :, None])[:, :, 0]
            steps = delays[:, None] + torch.arange(reading.codes.shape[1])
            out.append(of_step.gather(1, steps.to(of_step.device)).cpu().numpy())
        return np.stack(out)

    @torch.no_grad()
    def _token_vectors(self, codes: np.ndarray) -> np.ndarray:
        codec = self._model.compression_model
        books = (codec.model if self._n_channels > 1 else codec).quantizer.vq.layers
        tokens = torch.from_numpy(codes.astype(np.int64)).to(self._device)
        vectors = [books[k // self._n_channels].decode(tokens[:, k]) for k in range(codes.shape[1])]
        return torch.stack(vectors, dim=1).transpose(2, 3).float().cpu().numpy()

    @torch.no_grad()
    def _decode(self, codes: np.ndarray) -> np.ndarray:
        audio = [
            self._model.compression_model.decode(
                torch.from_numpy(clip[None].astype(np.int64)).to(self._device)
            )
            for clip in codes
        ]
        waveforms = torch.cat(audio).float().cpu().numpy()
        return waveforms if self._n_channels > 1 else waveforms[:, 0]

    def _untrained_from(self, key: int, keep_text: bool) -> str:
        return f"{key}:{self._info.weights_sha256}"

    def _untrained(self, key: int, keep_text: bool, info: ModelInfo) -> "AudiocraftBackend":
        import_audiocraft()
        from audiocraft.models import builders
        from transformers import T5EncoderModel

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(key)
            language = builders.get_lm_model(self._lm.cfg)
            text: Any = language.condition_provider.conditioners["description"]
            fresh: Any = T5EncoderModel(text.t5.config)
        text.__dict__["t5"] = self._text.t5 if keep_text else fresh.eval().to(self._device)
        # without a cfg audiocraft takes the codec unchanged: in stereo it is wrapped already
        codec, longest = self._model.compression_model, self._model.max_duration
        twin = type(self._model)(self._model.name, codec, language, longest)
        language.cfg = self._lm.cfg
        return AudiocraftBackend(twin, info, self._text_padding)


def _check_no_attention(capture: Capture) -> None:
    if capture.attention:
        rule = "be false with audiocraft, which forms no weights"
        advice = "Convert the checkpoint, or set generate.attention to false"
        raise UsageError(must("generate.attention", rule, True, next_step=advice))
