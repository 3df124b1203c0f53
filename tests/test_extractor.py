"""ActivationExtractor on both kinds of model objects: every step, both halves, hooks removed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn
from transformers import AutoProcessor, MusicgenForConditionalGeneration

from moodlens import ActivationExtractor, cosine_similarity
from moodlens.backends import catalog
from moodlens.backends.musicgen.loading import quiet_transformers
from moodlens.base.errors import ContractError, UsageError
from moodlens.contracts.backend import Capture, ClipRequest, Sampling
from moodlens.params.pipeline import Model

TEXTS = ["a happy piano piece", "a sad piano piece"]
N_FRAMES = 20
GREEDY = {"do_sample": False, "guidance_scale": 3.0, "max_length": N_FRAMES + 4}


@pytest.fixture(scope="module")
def stock(converted_folder: Path) -> tuple[Any, Any]:
    """The converted model and its processor, as transformers loads them."""
    with quiet_transformers():
        model = MusicgenForConditionalGeneration.from_pretrained(converted_folder)
        return model, AutoProcessor.from_pretrained(converted_folder)


@pytest.fixture
def audiocraft(reference: Any) -> Any:
    reference.set_generation_params(use_sampling=False, duration=N_FRAMES / 50)
    return reference


@pytest.fixture(params=["audiocraft", "transformers"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def make(
    kind: str, request: pytest.FixtureRequest, layers: list[int] | None = None
) -> tuple[Any, dict[str, Any]]:
    """Return an extractor and the settings of a greedy run."""
    if kind == "audiocraft":
        return ActivationExtractor(request.getfixturevalue("audiocraft"), layers), {}
    model, processor = request.getfixturevalue("stock")
    return ActivationExtractor(model, layers, processor=processor), GREEDY


def hooks_of(extractor: Any) -> int:
    model = extractor._model._model
    root: nn.Module = getattr(model, "lm", model)
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in root.modules())


def test_every_step_of_both_halves(kind: str, request: pytest.FixtureRequest):
    extractor, greedy = make(kind, request, layers=[0, 2])
    audio = extractor.generate(TEXTS, **greedy)
    activations = extractor.get_activations(concatenate=True)
    assert audio.shape == (2, 1, N_FRAMES * 320)
    assert list(activations) == ["layer_0", "layer_2"]
    for states in activations.values():
        assert states.shape == (N_FRAMES + 3, 2, 2, 32)
        assert len({step.numpy().tobytes() for step in states}) == N_FRAMES + 3  # no step twice
    steps = extractor.get_activations(concatenate=False)["layer_2"]
    assert len(steps) == N_FRAMES + 3
    assert torch.equal(torch.stack(steps), activations["layer_2"])


def test_it_records_what_the_backend_records(
    kind: str, request: pytest.FixtureRequest, converted_folder: Path
):
    extractor, greedy = make(kind, request)
    extractor.generate(TEXTS, **greedy)
    backend = catalog.load(Model(str(converted_folder), "", "float32", "cpu"), converted_folder)
    requests = [ClipRequest(f"c{i}", f"p{i}", text, i) for i, text in enumerate(TEXTS)]
    made = backend.generate(requests, Sampling(N_FRAMES, temperature=0), Capture(half="both"))
    for layer in range(3):
        theirs = extractor.get_activations()[f"layer_{layer}"]
        for row, half in enumerate(("cond", "uncond")):
            ours = made.states.values[f"residual.{layer}/{half}"]  # (clip, step, d_model)
            np.testing.assert_allclose(theirs[:, row].transpose(0, 1).numpy(), ours, atol=1e-4)


def test_runs_accumulate_prompts_until_cleared(kind: str, request: pytest.FixtureRequest):
    extractor, greedy = make(kind, request, layers=[1])
    extractor.generate(TEXTS[:1], **greedy)
    extractor.generate(TEXTS[1:], **greedy)
    one_by_one = extractor.get_activations()["layer_1"]
    extractor.clear_activations()
    extractor.generate(TEXTS, **greedy)
    together = extractor.get_activations()["layer_1"]
    assert one_by_one.shape == together.shape
    torch.testing.assert_close(one_by_one, together, atol=1e-5, rtol=0)
    assert 0 < cosine_similarity(together[:, 0, 0], together[:, 0, 1]) < 0.9999
    extractor.clear_activations()
    with pytest.raises(UsageError, match=r"Call extractor\.generate"):
        extractor.get_activations()


def test_hooks_exist_only_during_generation(kind: str, request: pytest.FixtureRequest):
    extractor, greedy = make(kind, request)
    before = hooks_of(extractor)
    with extractor as entered:
        assert entered is extractor
        extractor.generate(TEXTS[:1], **greedy)
        assert hooks_of(extractor) == before
    assert extractor.get_activations()["layer_0"].shape[0] == N_FRAMES + 3
    with pytest.raises(UsageError, match="the extractor must be open"):
        extractor.generate(TEXTS[:1], **greedy)


def test_a_failed_run_leaves_neither_hooks_nor_states(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    extractor, greedy = make(kind, request)
    before = hooks_of(extractor)

    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    last = extractor._model.layers[-1]
    handle = last.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        extractor.generate(TEXTS, **greedy)
    handle.remove()
    assert hooks_of(extractor) == before
    with pytest.raises(UsageError, match="must be recorded"):
        extractor.get_activations()


def test_a_recording_that_misses_steps_is_refused(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    """A hook that assigns keeps the last step only."""
    extractor, greedy = make(kind, request, layers=[0])
    hooked = ActivationExtractor._hooked

    class Overwritten(list):
        def append(self, step: Any) -> None:
            self[:] = [step]

    def hooked_to_overwrite(self: ActivationExtractor, run: dict[str, list[torch.Tensor]]) -> Any:
        run.update({name: Overwritten() for name in run})
        return hooked(self, run)

    monkeypatch.setattr(ActivationExtractor, "_hooked", hooked_to_overwrite)
    with pytest.raises(
        ContractError, match=r"layer_0 must record 23 steps \(20 frames \+ 3\) of 2 prompts.*got '1 steps"
    ):
        extractor.generate(TEXTS, **greedy)


def test_without_guidance_there_is_one_half(stock: tuple[Any, Any]):
    extractor = ActivationExtractor(stock[0], [0], processor=stock[1].tokenizer)
    extractor.generate(TEXTS, **GREEDY | {"guidance_scale": 1.0})
    assert extractor.get_activations()["layer_0"].shape == (N_FRAMES + 3, 1, 2, 32)
    extractor.generate(TEXTS, **GREEDY)
    with pytest.raises(
        ContractError, match="recorded runs must have one length; got '23 steps x 1 and 23 steps x 2'"
    ):
        extractor.get_activations()


def test_without_a_cache_the_count_still_holds(stock: tuple[Any, Any]):
    extractor = ActivationExtractor(stock[0], [2], processor=stock[1])
    extractor.generate(TEXTS, **GREEDY)
    cached = extractor.get_activations()["layer_2"]
    extractor.clear_activations()
    extractor.generate(TEXTS, **GREEDY, use_cache=False)
    torch.testing.assert_close(extractor.get_activations()["layer_2"], cached, atol=1e-4, rtol=0)


@pytest.mark.parametrize("layers", [[3], [-1], [0, 24]])
def test_a_layer_that_the_model_lacks(kind: str, request: pytest.FixtureRequest, layers: list[int]):
    with pytest.raises(UsageError, match=r"layers must lie in 0\.\.2 for this model; got"):
        make(kind, request, layers)


def test_what_cannot_be_recorded_is_refused(audiocraft: Any, stock: tuple[Any, Any]):
    with pytest.raises(UsageError, match="model must be a MusicGen; got 'Linear'"):
        ActivationExtractor(nn.Linear(1, 1))
    with pytest.raises(UsageError, match="processor must be given with a transformers model"):
        ActivationExtractor(stock[0])
    extractor = ActivationExtractor(audiocraft, [0])
    for prompts in ([], [""], [3]):
        with pytest.raises(UsageError, match="prompts must be texts"):
            extractor.generate(prompts)
    with pytest.raises(UsageError, match=r"Use model\.set_generation_params"):
        extractor.generate(TEXTS, max_length=8)
    audiocraft.set_generation_params(two_step_cfg=True, duration=0.2)
    with pytest.raises(UsageError, match="two_step_cfg must be False"):
        extractor.generate(TEXTS)
    audiocraft.set_generation_params(duration=31)
    with pytest.raises(UsageError, match=r"duration must be at most 30 s to be recorded; got '31 s'"):
        extractor.generate(TEXTS)


def test_one_text_is_one_prompt(audiocraft: Any):
    extractor = ActivationExtractor(audiocraft, [0])
    extractor.generate("a happy piano piece")  # type: ignore[arg-type]
    assert extractor.get_activations()["layer_0"].shape[2] == 1


vectors = arrays(np.float64, (3, 4), elements=st.floats(0.1, 10))


@given(vectors, st.floats(0.1, 100))
def test_cosine_ignores_length_and_keeps_the_sign(x: np.ndarray, scale: float):
    assert cosine_similarity(x, scale * x) == pytest.approx(1)
    assert cosine_similarity(x, -x) == pytest.approx(-1)


def test_cosine_by_hand_and_refused():
    assert cosine_similarity([[3.0, 4.0]], [[4.0, 3.0]]) == pytest.approx(24 / 25)
    assert cosine_similarity(torch.ones(2, 3).half(), torch.ones(2, 3)) == pytest.approx(1)
    with pytest.raises(ContractError, match=r"have one shape, \(2,\); got \(3,\)"):
        cosine_similarity([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ContractError, match="finite and not zero"):
        cosine_similarity([0.0, 0.0], [1.0, 2.0])
    with pytest.raises(ContractError, match="finite and not zero"):
        cosine_similarity([float("nan"), 0.0], [1.0, 2.0])


def test_unknown_names_raise():
    import moodlens

    with pytest.raises(AttributeError, match="has no attribute 'Extractor'"):
        _ = moodlens.Extractor
