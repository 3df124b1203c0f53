"""The converted weights against audiocraft itself: tokens, states, logits, codes and waveforms.

`ATOL` is the bar of 1e-4; what is measured on these sizes is 1e-6 (melody 1e-5: its prefix is 118 steps of
one vector, repeated, whose sums the two libraries add in another order).
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    MusicgenForConditionalGeneration,
    MusicgenMelodyForConditionalGeneration,
)

from moodlens import ActivationExtractor
from moodlens.backends import catalog
from moodlens.backends.audiocraft.convert import convert
from moodlens.backends.conditioning import TEXT_BUCKET
from moodlens.backends.hooks import captured_modules
from moodlens.backends.musicgen.backend import MusicgenBackend
from moodlens.backends.musicgen.loading import quiet_transformers
from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Capture, ClipRequest, Sampling
from moodlens.contracts.tensors import WHOLE_SITES
from moodlens.params.pipeline import Model
from tests.tiny_audiocraft import N_LAYERS, give_melody_parts, load_audiocraft, save_tiny_audiocraft

ATOL = 1e-4
N_FRAMES = 20
EQUAL = ["a happy piano piece", "a sad piano piece"]
PADDED = ["a sad guitar piece", "sad", "a happy piano piece"]
WIDE = " ".join(["soft"] * (TEXT_BUCKET - 1))
"""A prompt of 32 tokens, the end token included: beside it audiocraft pads every prompt to 32."""
MODULES: dict[str, Callable[[nn.Module], nn.Module]] = {
    "residual": lambda layer: layer,
    "self_attention": lambda layer: layer.get_submodule("self_attn"),
    "cross_attention": lambda layer: layer.get_submodule("cross_attention"),
    "mlp": lambda layer: layer.get_submodule("linear2"),
}


@pytest.fixture(scope="session")
def backends(converted_folder: Path) -> dict[str, MusicgenBackend]:
    policies: tuple[Literal["mask", "attend"], ...] = ("mask", "attend")
    models = {policy: Model(str(converted_folder), "", "float32", "cpu", policy) for policy in policies}
    return {policy: catalog.load(model, converted_folder) for policy, model in models.items()}


class Reference:
    """What audiocraft generated greedily, and what its modules put out on the way."""

    def __init__(self, model: Any, texts: Sequence[str], sites: Sequence[str] = tuple(MODULES)) -> None:
        calls: dict[str, list[Tensor]] = defaultdict(list)
        modules = {"logits": model.lm}
        for i, layer in enumerate(model.lm.transformer.layers):
            modules |= {f"{site}.{i}": MODULES[site](layer) for site in sites}

        def hook(name: str) -> Callable[..., None]:
            def keep(_module: nn.Module, _args: object, output: Any) -> None:
                calls[name].append(output[0] if isinstance(output, tuple) else output)

            return keep

        handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
        try:
            model.set_generation_params(use_sampling=False, duration=N_FRAMES / 50)
            self.audio, self.tokens = model.generate(list(texts), return_tokens=True)
        finally:
            for handle in handles:
                handle.remove()
        self.logits = torch.cat(calls.pop("logits"), dim=2)  # (row, codebook, step, entry)
        self.states = {name: torch.cat(parts, dim=1) for name, parts in calls.items()}


def requests(texts: Sequence[str]) -> list[ClipRequest]:
    return [ClipRequest(f"c{i}", f"p{i}", text, i) for i, text in enumerate(texts)]


def check_parity(backend: MusicgenBackend, reference: Any, texts: Sequence[str]) -> None:
    recorded = Reference(reference, texts)
    capture = Capture(sites=tuple(MODULES), half="both")
    made = backend.generate(requests(texts), Sampling(N_FRAMES, temperature=0), capture)
    assert np.array_equal(made.codes, recorded.tokens.numpy())
    assert len(np.unique(made.codes)) > 8  # not one token for ever
    assert len(made.states.values) == 2 * len(MODULES) * N_LAYERS
    for name, theirs in recorded.states.items():
        for half, rows in (("cond", slice(0, len(texts))), ("uncond", slice(len(texts), None))):
            ours = made.states.values[f"{name}/{half}"]
            assert ours.shape == (len(texts), N_FRAMES + 3, 32)
            np.testing.assert_allclose(
                ours, theirs[rows].numpy(), atol=ATOL, rtol=0, err_msg=f"{name}/{half}"
            )
    body, heads = backend.parts[0].decoder.model.decoder, backend.parts[0].decoder.lm_heads
    last = torch.cat(
        [
            torch.from_numpy(made.states.values[f"residual.{N_LAYERS - 1}/{half}"])
            for half in ("cond", "uncond")
        ]
    )
    with torch.inference_mode():
        logits = torch.stack([head(body.layer_norm(last)) for head in heads], dim=1)
    np.testing.assert_allclose(logits.numpy(), recorded.logits.numpy(), atol=ATOL, rtol=0)
    np.testing.assert_allclose(backend.decode(made.codes), recorded.audio[:, 0].numpy(), atol=ATOL, rtol=0)
    assert recorded.audio.abs().max() > 0.01


def test_prompts_of_one_length(backends: dict[str, MusicgenBackend], reference: Any):
    check_parity(backends["mask"], reference, EQUAL)


def test_attended_prompts_are_what_audiocraft_makes_beside_a_prompt_of_their_width(
    backends: dict[str, MusicgenBackend], reference: Any
):
    assert len(backends["attend"].encode_text([WIDE])[0].tokens) == TEXT_BUCKET
    check_parity(backends["attend"], reference, [*PADDED, WIDE])


@pytest.mark.parametrize("policy", ["mask", "attend"])
def test_a_clip_does_not_depend_on_other_clips(backends: dict[str, MusicgenBackend], policy: str):
    together = backends[policy].generate(requests([*PADDED, WIDE, f"{WIDE} sad"]), Sampling(8), Capture())
    for i, text in enumerate(PADDED):
        requested = [ClipRequest(f"c{i}", f"p{i}", text, i)]
        alone = backends[policy].generate(requested, Sampling(8), Capture())
        assert np.array_equal(alone.codes[0], together.codes[i])
        for key, states in alone.states.values.items():
            assert np.array_equal(states[0], together.states.values[key][i]), key


@pytest.mark.parametrize("text", PADDED)
def test_masked_prompts_are_what_audiocraft_makes_of_each_alone(
    backends: dict[str, MusicgenBackend], reference: Any, text: str
):
    check_parity(backends["mask"], reference, [text])


def test_the_policies_differ_on_padded_prompts_only(backends: dict[str, MusicgenBackend]):
    codes = np.zeros((3, 4, N_FRAMES), dtype=np.int16)
    masked, attended = (
        backends[policy].teacher_force(codes, PADDED, Capture()).values for policy in backends
    )
    gap = np.abs(masked["residual.2/cond"] - attended["residual.2/cond"]).max(axis=(1, 2))
    assert (gap > 0.01).all()
    full = {
        policy: backend.teacher_force(codes[:1], [WIDE], Capture()).values
        for policy, backend in backends.items()
    }
    np.testing.assert_allclose(full["mask"]["residual.2/cond"], full["attend"]["residual.2/cond"], atol=1e-5)


def test_teacher_forcing_under_attended_padding_equals_generation(backends: dict[str, MusicgenBackend]):
    made = backends["attend"].generate(requests(PADDED), Sampling(N_FRAMES), Capture(half="both"))
    forced = backends["attend"].teacher_force(made.codes, PADDED, Capture(half="both"))
    for key, states in made.states.values.items():
        np.testing.assert_allclose(states, forced.values[key], atol=ATOL, err_msg=key)


def test_an_unknown_padding_policy_is_refused(converted_folder: Path):
    with pytest.raises(
        UsageError, match=r"text_padding must be mask or attend; got 'masks'\. Did you mean 'mask'\?"
    ):
        unknown: Any = "masks"
        catalog.load(Model(str(converted_folder), "", "float32", "cpu", unknown), converted_folder)


def test_codes_of_a_waveform(backends: dict[str, MusicgenBackend], reference: Any):
    waveform = 5.0 * torch.randn(2, 1, 6400, generator=torch.Generator().manual_seed(5))
    codec: Any = backends["mask"].parts[0].audio_encoder
    with torch.inference_mode():
        theirs, scale = reference.compression_model.encode(waveform)
        ours = codec.encode(waveform, bandwidth=codec.config.target_bandwidths[0]).audio_codes[0]
    assert scale is None
    assert theirs.shape == (2, 4, 20)
    assert len(theirs.unique()) > 8
    assert torch.equal(ours, theirs)


def transformers_greedy(model: Any, folder: Path, texts: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return audio and layer states of transformers' own generate; its second prefill is kept out."""
    calls: dict[str, list[Tensor]] = defaultdict(list)

    def hook(name: str) -> Callable[..., None]:
        def keep(_module: nn.Module, _args: object, output: Any) -> None:
            calls[name].append(output[0] if isinstance(output, tuple) else output)

        return keep

    for i, layer in enumerate(model.decoder.model.decoder.layers):
        layer.register_forward_hook(hook(f"residual.{i}"))
    with quiet_transformers():
        inputs: Any = AutoTokenizer.from_pretrained(folder)(list(texts), padding=True, return_tensors="pt")
        audio = model.generate(**inputs, do_sample=False, guidance_scale=3.0, max_length=N_FRAMES + 4)
    first = len(calls["residual.0"]) - (N_FRAMES + 3)
    return audio, {name: torch.cat(parts[first:], dim=1) for name, parts in calls.items()}


def check_against_transformers(kind: str, model_class: Any, t5: Path, work: Path) -> Any:
    folder = save_tiny_audiocraft(work / kind, t5, kind, seed=1)  # seed 0 has two logits 6e-7 apart in stereo
    reference = load_audiocraft(folder)
    recorded = Reference(reference, EQUAL, ("residual",))
    target = convert(folder, work / "converted")
    with quiet_transformers():
        model = model_class.from_pretrained(target).eval()
    audio, states = transformers_greedy(model, target, EQUAL)
    assert audio.shape == recorded.audio.shape
    np.testing.assert_allclose(audio.numpy(), recorded.audio.numpy(), atol=ATOL, rtol=0)
    assert len(recorded.tokens.unique()) > 8
    for name, theirs in recorded.states.items():
        np.testing.assert_allclose(states[name].numpy(), theirs.numpy(), atol=ATOL, rtol=0, err_msg=name)
    check_extractors(reference, model, target, recorded)
    check_served(target, recorded)
    return model


def check_served(folder: Path, recorded: Reference) -> MusicgenBackend:
    """Hold the pipeline against audiocraft: tokens, layers of both halves, audio, teacher forcing."""
    backend = catalog.load(Model(str(folder), "", "float32", "cpu"), folder)
    made = backend.generate(requests(EQUAL), Sampling(N_FRAMES, temperature=0), Capture(half="both"))
    assert np.array_equal(made.codes, recorded.tokens.numpy())
    rows = {"cond": slice(0, len(EQUAL)), "uncond": slice(len(EQUAL), None)}
    if backend.prepends_text:  # its null text is recorded alone: see test_melody; equal tokens say the rest
        del rows["uncond"]
    for name, theirs in recorded.states.items():
        for half in rows:
            ours = made.states.values[f"{name}/{half}"]
            wanted = theirs[rows[half], -(N_FRAMES + 3) :].numpy()  # a prefix comes first
            np.testing.assert_allclose(ours, wanted, atol=ATOL, rtol=0, err_msg=f"{name}/{half}")
    audio = backend.decode(made.codes)
    wanted = recorded.audio.numpy() if recorded.audio.shape[1] == 2 else recorded.audio[:, 0].numpy()
    np.testing.assert_allclose(audio, wanted, atol=ATOL, rtol=0)
    forced = backend.teacher_force(made.codes, EQUAL, Capture(half="both"))
    for key, states in made.states.values.items():
        np.testing.assert_allclose(states, forced.values[key], atol=ATOL, err_msg=key)
    null = backend.teacher_force(made.codes, [None] * len(EQUAL), Capture())
    assert np.abs(null.values["residual.0/cond"] - forced.values["residual.0/cond"]).max() > 1e-3
    lone = backend.generate(requests(EQUAL)[1:], Sampling(N_FRAMES, temperature=0), Capture())
    assert np.array_equal(lone.codes[0], made.codes[1])
    twin = backend.random_twin(0)
    assert np.array_equal(twin.decode(made.codes), audio)
    return backend


def check_extractors(reference: Any, model: Any, folder: Path, recorded: Reference) -> None:
    """Check that the notebook's extractor leaves a prefix out and agrees on both kinds of objects."""
    theirs = ActivationExtractor(reference, [1])
    ours = ActivationExtractor(model, [1], processor=AutoTokenizer.from_pretrained(folder))
    theirs.generate(EQUAL)
    ours.generate(EQUAL, do_sample=False, guidance_scale=3.0, max_length=N_FRAMES + 4)
    rows = recorded.states["residual.1"][:, -(N_FRAMES + 3) :]  # a prefix comes first
    wanted = rows.unflatten(0, (2, len(EQUAL))).permute(2, 0, 1, 3)
    for extractor in (ours, theirs):
        activations = extractor.get_activations()["layer_1"]
        np.testing.assert_allclose(activations.numpy(), wanted.numpy(), atol=ATOL, rtol=0)


def test_stereo_has_eight_interleaved_codebooks(tiny_t5: Path, tmp_path: Path):
    model = check_against_transformers("stereo", MusicgenForConditionalGeneration, tiny_t5, tmp_path)
    assert (model.config.decoder.num_codebooks, model.config.decoder.audio_channels) == (8, 2)


def test_melody_prepends_chroma_and_text_and_has_no_cross_attention(
    tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    give_melody_parts(monkeypatch)
    model = check_against_transformers("melody", MusicgenMelodyForConditionalGeneration, tiny_t5, tmp_path)
    assert model.config.chroma_length == 118  # 30 s x 16 kHz / 4096 + 1
    layers = list(model.decoder.model.decoder.layers)
    assert set(captured_modules(layers, Capture(("residual", "mlp"), (0,)))) == {"residual.0", "mlp.0"}
    message = "got 'cross_attention'. This model has: residual, self_attention, mlp."
    with pytest.raises(UsageError, match=message):
        captured_modules(layers, Capture(("cross_attention",)))
    backend = catalog.load(Model(str(tmp_path / "converted"), "", "float32", "cpu"), tmp_path)
    assert {point.split(".")[0] for point in backend.hookpoints()} == {
        "residual", "self_attention", "mlp", *WHOLE_SITES
    }  # fmt: skip
    with pytest.raises(UsageError, match=message):
        backend.generate(requests(EQUAL), Sampling(4), Capture(("cross_attention",)))
