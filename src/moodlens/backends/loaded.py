"""What all backends share: checks of the input, loops over clips, hookpoints, untrained controls."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from hashlib import sha256
from typing import Self

import numpy as np
from torch import nn

from moodlens.backends.conditioning import check_padding
from moodlens.backends.forks import check_forks, forks_do_not_apply
from moodlens.backends.hooks import SITES, FindSite, Recorder, captured_modules, insert_clips, present_sites
from moodlens.backends.interventions import Job, check_interventions
from moodlens.backends.requests import captured_halves, check_codes, check_prompt, check_requests, halves_run
from moodlens.base.errors import UsageError, must
from moodlens.base.seeding import seed_for
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
)
from moodlens.contracts.interventions import Intervention, Reading
from moodlens.contracts.tensors import hookpoint


class LoadedBackend(ABC):
    """A loaded model behind the protocol `MusicBackend`; a subclass knows one model library.

    Args:
        info: description that is stored beside every dataset made with this model.
        text_padding: `mask` or `attend`, see `conditioning.check_padding`. Under both, a clip is a function
            of its own prompt and seed.
    """

    sites: Mapping[str, FindSite] = SITES
    """Site -> the module of a decoder layer, in the names of the subclass's library."""

    def __init__(self, info: ModelInfo, text_padding: str) -> None:
        self._info = info
        self._text_padding = check_padding(text_padding)

    @property
    def info(self) -> ModelInfo:
        return self._info

    @property
    def text_padding(self) -> str:
        """The padding policy of texts, see `conditioning.check_padding`."""
        return self._text_padding

    @property
    @abstractmethod
    def layers(self) -> Sequence[nn.Module]:
        """Decoder layers, first to last."""

    @property
    @abstractmethod
    def whole_sites(self) -> Mapping[str, nn.Module]:
        """Sites that belong to no layer -> module."""

    def hookpoints(self) -> list[str]:
        """Return every hookpoint of this model, site by site."""
        sites = present_sites(self.layers[0], self.sites)
        layered = [hookpoint(site, layer) for site in sites for layer in range(len(self.layers))]
        return [*layered, *(hookpoint(site, 0) for site in self.whole_sites)]

    @property
    def prepends_text(self) -> bool:
        """Whether text takes positions of the sequence (melody models), so that its length shifts the steps.

        Null text beside a text then has as many positions, and its states would tell the length of the
        prompt. The states of null text that are recorded are therefore those of a pass of its own over the
        same tokens, with null text alone. Tokens are drawn as the library draws them.
        """
        return "cross_attention" not in present_sites(self.layers[0], self.sites)

    def _modules(self, capture: Capture) -> dict[str, nn.Module]:
        return captured_modules(self.layers, capture, self.whole_sites, self.sites)

    def _edited(self, jobs: Sequence[Job]) -> dict[str, nn.Module]:
        """Return the modules that jobs change, by hookpoint."""
        names = dict.fromkeys(job.edit.hookpoint for job in jobs)
        sites = tuple(dict.fromkeys(name.split(".")[0] for name in names))
        modules = self._modules(Capture(sites))
        return {name: modules[name] for name in names}

    def _recorder(self, capture: Capture, rows: Mapping[str, slice], n_steps: int, n_prefix: int) -> Recorder:
        """Return a recorder of the captured halves; `rows` says which rows of the model belong to a half."""
        recorded = {half: rows[half] for half in captured_halves(capture)}
        return Recorder(self._modules(capture), recorded, n_steps, capture, self._info.n_delays, n_prefix)

    def generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        """Generate the clips; a clip has the same tokens and states in any batch and order.

        Raises:
            UsageError: there is nothing to generate, or the capture names what this model lacks.
            ContractError: a hook did not record every step exactly once.
        """
        check_requests(requests, sampling)
        halves = captured_halves(capture)
        if not self.prepends_text or "uncond" not in halves:
            return self._generate(requests, sampling, capture)
        sites = capture.sites if "cond" in halves else ()
        made = self._generate(requests, sampling, replace(capture, sites=sites, half="cond"))
        null = replace(capture, half="uncond", attention=())
        _add(made.states, self.teacher_force(made.codes, [None] * len(requests), null))
        return made

    @abstractmethod
    def _generate(self, requests: Sequence[ClipRequest], sampling: Sampling, capture: Capture) -> Generated:
        """Generate the clips of checked requests."""

    def fork(self, stems: Sequence[Stem], branches: Sequence[Branch], sampling: Sampling) -> Forked:
        """Return the continuation of every branch, the same in any call and order.

        Args:
            stems: tokens under a text, whose prefixes and cached states the branches take.
            branches: at which step each goes on, under which text, with whose cached states.
            sampling: how tokens are drawn; its number of frames is that of the stems.

        Raises:
            UsageError: the model prepends its text, so its cache cannot go on under another one; or as
                `forks.check_forks` and `interventions.check_interventions`.
        """
        if self.prepends_text:
            raise forks_do_not_apply(self._info, "text prepended to the sequence (melody)")
        check_forks(stems, branches, sampling, self._info)
        halves = halves_run(sampling.guidance_scale, "cond")
        n_steps = steps_for(sampling.n_frames, self._info.n_delays)
        for branch in branches:
            self._check_edits(branch.edits, n_steps, branch.step, halves, sampling.n_frames)
        return self._fork(stems, branches, sampling)

    @abstractmethod
    def _fork(self, stems: Sequence[Stem], branches: Sequence[Branch], sampling: Sampling) -> Forked:
        """Continue checked branches."""

    def teacher_force(
        self,
        codes: np.ndarray,
        texts: Sequence[str | None],
        capture: Capture,
        edits: Sequence[Sequence[Intervention]] = (),
        wordings: Sequence[str] | None = None,
    ) -> States:
        """Return the states of a full pass over given tokens, with the delay pattern and the start token.

        Clips are run one at a time, so that the states of a clip do not depend on the other clips.

        Args:
            codes: (clip, codebook, frame), integers in [0, codebook_size).
            texts: prompt of each clip, or None for null text (zero after projection).
            capture: what to record; `cond` is the half under `texts`, `uncond` the one under null text.
            edits: interventions of each clip; () is none.
            wordings: per clip the words that bear emotion, for attention summaries.

        Raises:
            UsageError: the number of texts or of interventions is not the number of clips, tokens lie outside
                the codebook, an intervention does not fit, or attention is requested under null text.
        """
        check_codes(codes, len(texts), self._info)
        if edits and len(edits) != len(texts):
            rule = f"give the interventions of {len(texts)} clips"
            raise UsageError(must("edits", rule, len(edits), next_step="Give () to a clip without any"))
        n_frames = codes.shape[2]
        for own in edits:
            halves = captured_halves(capture)
            self._check_edits(own, steps_for(n_frames, self._info.n_delays), 0, halves, n_frames)
        states = States()
        for i, text in enumerate(texts):
            own = edits[i] if edits else ()
            wording = "" if wordings is None else wordings[i]
            forced = self._forced_clip(codes[i : i + 1], text, wording, capture, own)
            insert_clips(states, forced, [i], len(texts))
        return states

    def _forced_clip(
        self,
        codes: np.ndarray,
        text: str | None,
        wording: str,
        capture: Capture,
        edits: Sequence[Intervention],
    ) -> States:
        """Return the states of one clip; null text that would share the width of a text gets its own pass."""
        halves = captured_halves(capture)
        if not self.prepends_text or text is None or "uncond" not in halves:
            return self._teacher_force_clip(codes, text, wording, capture, edits)
        of_null = [replace(edit, half="uncond") for edit in edits if edit.half != "cond"]
        null = replace(capture, half="uncond", attention=())
        states = self._teacher_force_clip(codes, None, "", null, of_null)
        if "cond" in halves:
            own = replace(capture, half="cond")
            others = [replace(edit, half="cond") for edit in edits if edit.half != "uncond"]
            _add(states, self._teacher_force_clip(codes, text, wording, own, others))
        return states

    @abstractmethod
    def _teacher_force_clip(
        self,
        codes: np.ndarray,
        text: str | None,
        wording: str,
        capture: Capture,
        edits: Sequence[Intervention],
    ) -> States:
        """Return the states of one clip, (1, codebook, frame)."""

    def _check_edits(
        self,
        edits: Sequence[Intervention],
        n_steps: int,
        first: int,
        halves: Sequence[str],
        n_frames: int,
    ) -> None:
        if self.prepends_text and any(edit.donor is not None for edit in edits):
            raise forks_do_not_apply(self._info, "text prepended to the sequence (melody)")
        check_interventions(edits, self.hookpoints(), self._info, n_steps, first, halves, n_frames)

    def score(self, readings: Sequence[Reading]) -> np.ndarray:
        """Return -ln p of every token that is fed back, (reading, codebook, frame), float32, in nats.

        Neighbours with the same tokens are run together, at most `block_clips` rows with their donors. The
        last bits of a row depend on the rows beside it.

        Raises:
            UsageError: there is nothing to read, tokens do not fit the model or have several lengths, or an
                intervention does not fit.
        """
        shapes = {reading.codes.shape for reading in readings}
        if len(shapes) != 1:
            rule, advice = "be of one length", "Read each length in a call of its own"
            raise UsageError(must("the clips of a score", rule, sorted(shapes), next_step=advice))
        n_frames = next(iter(shapes))[1]
        for reading in readings:
            check_codes(reading.codes[None], 1, self._info)
            if reading.text is not None:
                check_prompt(reading.text)
            n_steps = steps_for(n_frames, self._info.n_delays)
            self._check_edits(reading.edits, n_steps, 0, ("cond",), n_frames)
        return self._score(readings)

    @abstractmethod
    def _score(self, readings: Sequence[Reading]) -> np.ndarray:
        """Score checked readings."""

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the waveform of each clip, (clip, sample), in stereo (clip, channel, sample), float32.

        Raises:
            UsageError: the tokens are not this model's.
        """
        check_codes(codes, len(codes), self._info)
        return self._decode(codes)

    @abstractmethod
    def _decode(self, codes: np.ndarray) -> np.ndarray:
        """Decode checked tokens, one clip at a time."""

    def token_vectors(self, codes: np.ndarray) -> np.ndarray:
        """Return the codec's vector of every token, (clip, codebook, frame, d_codec) float32.

        The sum over codebooks is the latent that the codec decodes (residual quantisation).

        Raises:
            UsageError: the tokens are not this model's.
        """
        check_codes(codes, len(codes), self._info)
        return self._token_vectors(codes)

    @abstractmethod
    def _token_vectors(self, codes: np.ndarray) -> np.ndarray:
        """Return the codec's vectors of checked tokens."""

    def random_twin(self, seed: int) -> Self:
        """Return the same architecture with untrained weights; only the codec and the tokenizer are kept."""
        return self._control("untrained twin", f"random{seed}", seed, keep_text=False)

    def random_decoder(self, seed: int) -> Self:
        """Return an untrained decoder and projection behind the trained text encoder, codec and tokenizer.

        Its weights are another draw than those of `random_twin(seed)`. Under null text, where the text
        encoder does not matter, the two are therefore independent controls.
        """
        return self._control("untrained decoder", f"random-decoder{seed}", seed, keep_text=True)

    def _control(self, kind: str, suffix: str, seed: int, keep_text: bool) -> Self:
        key = seed_for(kind, seed)
        digest = sha256(self._untrained_from(key, keep_text).encode()).hexdigest()
        info = replace(self._info, model_id=f"{self._info.model_id}~{suffix}", weights_sha256=digest)
        return self._untrained(key, keep_text, info)

    @abstractmethod
    def _untrained_from(self, key: int, keep_text: bool) -> str:
        """Return the text whose digest identifies the weights of an untrained control."""

    @abstractmethod
    def _untrained(self, key: int, keep_text: bool, info: ModelInfo) -> Self:
        """Return the untrained control whose weights are drawn from the seed `key`."""


def _add(states: States, more: States) -> None:
    """Add the arrays of other hookpoints and halves of the same clips."""
    for part in (field.name for field in fields(States)):
        getattr(states, part).update(getattr(more, part))
