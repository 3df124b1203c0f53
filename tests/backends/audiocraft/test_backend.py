"""AudiocraftBackend against audiocraft's own generate, and against MusicgenBackend on the same weights."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml

from moodlens.backends import catalog
from moodlens.base.errors import ContractError, MoodLensError, UsageError
from moodlens.contracts.backend import Branch, Capture, ClipRequest, MusicBackend, Sampling, Stem
from moodlens.params.pipeline import Model
from tests.tiny_audiocraft import as_audiocraft_runs, give_melody_parts, load_audiocraft, save_tiny_audiocraft

SITES = ("residual", "self_attention", "cross_attention", "mlp")
TEXTS = ["a sad guitar piece", "sad", "a happy piano piece"]
N_FRAMES, ATOL = 16, 1e-4


FORKS = [
    Branch(0, 6, None),
    Branch(0, 6, TEXTS[1]),
    Branch(1, 0, TEXTS[0]),
    Branch(3, 9, TEXTS[2]),
    Branch(0, 6, None, 1),
    Branch(0, 6, TEXTS[0], 1, (1,)),
    Branch(2, 9, None, 0, (1, 2), (3, 8)),
    Branch(0, 18, TEXTS[0]),
]


def requests(texts: list[str]) -> list[ClipRequest]:
    return [ClipRequest(f"c{i}", f"p{i}", text, 7 + i) for i, text in enumerate(texts)]


def loaded(folder: Path, text_padding: Literal["mask", "attend"] = "mask", dtype: Any = "float32") -> Any:
    with as_audiocraft_runs():
        return catalog.load(Model(str(folder), "", dtype, "cpu", text_padding), Path("/"))


def check_equal(theirs: MusicBackend, ours: MusicBackend) -> None:
    assert set(ours.hookpoints()) - set(theirs.hookpoints()) == {"embedding.0", "logits.0"}
    sites = tuple(dict.fromkeys(point.split(".")[0] for point in theirs.hookpoints()))
    capture = Capture(sites, half="both", summaries=True)
    for sampling in (Sampling(N_FRAMES, top_k=8), Sampling(N_FRAMES, temperature=0, guidance_scale=1)):
        made, wanted = (model.generate(requests(TEXTS), sampling, capture) for model in (theirs, ours))
        assert np.array_equal(made.codes, wanted.codes)
        assert len(np.unique(made.codes)) > 8
        assert list(made.states.values) == list(wanted.states.values)
        for values, right in (
            (made.states.values, wanted.states.values), (made.states.summaries, wanted.states.summaries)
        ):  # fmt: skip
            for key, states in right.items():
                np.testing.assert_allclose(values[key], states, atol=ATOL, rtol=1e-4, err_msg=key)
    texts = [TEXTS[0], None, TEXTS[1]]
    forced, right = (model.teacher_force(made.codes, texts, Capture()) for model in (theirs, ours))
    for key, states in right.values.items():
        np.testing.assert_allclose(forced.values[key], states, atol=ATOL, err_msg=key)
    np.testing.assert_allclose(theirs.decode(made.codes), ours.decode(made.codes), atol=ATOL)
    np.testing.assert_allclose(theirs.token_vectors(made.codes), ours.token_vectors(made.codes), atol=ATOL)
    for encoded, text in zip(theirs.encode_text(TEXTS), ours.encode_text(TEXTS), strict=True):
        assert encoded.tokens == text.tokens
        np.testing.assert_allclose(encoded.hidden, text.hidden, atol=ATOL)
        np.testing.assert_allclose(encoded.projected, text.projected, atol=ATOL)


def check_forks_equal(theirs: MusicBackend, ours: MusicBackend, guidance_scale: float) -> None:
    own = Sampling(N_FRAMES, top_k=8, guidance_scale=guidance_scale)
    codes = theirs.generate(requests(TEXTS), own, Capture(sites=())).codes
    stems = [Stem(codes[0], text, 7 + i) for i, text in enumerate((*TEXTS, None))]
    identity = [Branch(0, step, TEXTS[0]) for step in (0, 1, 9, 18)]
    made = theirs.fork(stems, identity, own).codes
    assert np.array_equal(made, np.stack([codes[0]] * len(identity)))
    for sampling in (own, replace(own, temperature=0)):
        made, wanted = (model.fork(stems, FORKS, sampling) for model in (theirs, ours))
        assert np.array_equal(made.codes, wanted.codes)
        np.testing.assert_allclose(made.nats_per_token, wanted.nats_per_token, atol=ATOL, rtol=0)
    assert len({tuple(row.flatten()) for row in made.codes}) >= len(FORKS) - 1


def states_of_a_fork(backend: Any, stems: list[Stem], branch: Branch, uncond_row: int) -> np.ndarray:
    """Return what every layer puts out from the fork on, (layer, step, half, d_model)."""
    outputs: list[list[torch.Tensor]] = [[] for _ in backend.layers]
    handles = [
        layer.register_forward_hook(
            lambda _m, _a, output, kept=kept: kept.append(output[0] if isinstance(output, tuple) else output)
        )
        for layer, kept in zip(backend.layers, outputs, strict=True)
    ]
    backend.fork(stems, [branch], Sampling(N_FRAMES, temperature=0))
    for handle in handles:
        handle.remove()
    drawn = N_FRAMES + 3 - branch.step
    return np.stack([
        [states[[0, uncond_row], 0].numpy() for states in kept[-drawn:]] for kept in outputs
    ])  # fmt: skip


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("padding", ["mask", "attend"])
def test_forks(
    audiocraft_folder: Path,
    converted_folder: Path,
    guidance_scale: float,
    padding: Literal["mask", "attend"],
):
    theirs, ours = loaded(Path(f"audiocraft:{audiocraft_folder}"), padding), loaded(converted_folder, padding)
    check_forks_equal(theirs, ours, guidance_scale)


@pytest.mark.parametrize("padding", ["mask", "attend"])
def test_states_of_forks(audiocraft_folder: Path, converted_folder: Path, padding: Literal["mask", "attend"]):
    theirs, ours = loaded(Path(f"audiocraft:{audiocraft_folder}"), padding), loaded(converted_folder, padding)
    codes = theirs.generate(requests(TEXTS), Sampling(N_FRAMES), Capture(sites=())).codes
    stems = [Stem(codes[0], text, 7) for text in TEXTS]
    states = {}
    for branch in (Branch(0, 6, None), Branch(0, 6, None, 1), Branch(0, 6, TEXTS[2], 1, (1,), (2, 5))):
        made, wanted = states_of_a_fork(theirs, stems, branch, 1), states_of_a_fork(ours, stems, branch, 16)
        assert made.shape == (3, N_FRAMES - 3, 2, 32)
        np.testing.assert_allclose(made, wanted, atol=ATOL, rtol=0)
        states[branch] = made
    own, donated, _ = states.values()
    assert np.abs(own[1:, 0, 0] - donated[1:, 0, 0]).max() > 10 * ATOL  # the first step has the same tokens
    assert np.array_equal(own[:, 0, 1], donated[:, 0, 1])  # the null half keeps its own states


def test_forks_in_stereo_and_not_of_a_melody_model(
    tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    stereo = save_tiny_audiocraft(tmp_path / "stereo", tiny_t5, "stereo", seed=1)
    check_forks_equal(loaded(Path(f"audiocraft:{stereo}")), loaded(stereo), 3.0)
    give_melody_parts(monkeypatch)
    melody = save_tiny_audiocraft(tmp_path / "melody", tiny_t5, "melody", seed=1)
    stems = [Stem(np.zeros((4, N_FRAMES), dtype=np.int16), "sad", 0)]
    for folder in (Path(f"audiocraft:{melody}"), melody):
        with pytest.raises(
            UsageError, match=r"must read its text through cross-attention.*Forks do not apply"
        ):
            loaded(folder).fork(stems, [Branch(0, 4, None)], Sampling(N_FRAMES))


@pytest.mark.parametrize("padding", ["mask", "attend"])
def test_same_weights_same_tokens_and_states(
    audiocraft_folder: Path, converted_folder: Path, padding: Literal["mask", "attend"]
):
    check_equal(loaded(Path(f"audiocraft:{audiocraft_folder}"), padding), loaded(converted_folder, padding))


def test_greedy_tokens_are_those_of_audiocrafts_own_generate(audiocraft_folder: Path):
    backend = loaded(Path(f"audiocraft:{audiocraft_folder}"))
    made = backend.generate(requests(TEXTS[:1]), Sampling(N_FRAMES, temperature=0), Capture())
    reference = load_audiocraft(audiocraft_folder)
    reference.set_generation_params(use_sampling=False, duration=N_FRAMES / 50)
    audio, tokens = reference.generate(TEXTS[:1], return_tokens=True)
    assert np.array_equal(made.codes, tokens.numpy())
    np.testing.assert_allclose(backend.decode(made.codes), audio[:, 0].numpy(), atol=ATOL)


def test_stereo_and_audiogen(tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    stereo = save_tiny_audiocraft(tmp_path / "stereo", tiny_t5, "stereo", seed=1)
    backend = loaded(Path(f"audiocraft:{stereo}"))
    check_equal(backend, loaded(stereo))  # the latter converted
    assert backend.decode(np.zeros((1, 8, 10), dtype=np.int16)).shape == (1, 2, 3200)
    audiogen = rewritten(save_tiny_audiocraft(tmp_path / "audiogen", tiny_t5), {"solver": "audiogen"})
    backend = loaded(Path(f"audiocraft:{audiogen}"))
    assert type(backend._model).__name__ == "AudioGen"
    made = backend.generate(requests(TEXTS[:1]), Sampling(8), Capture())
    assert made.codes.shape == (1, 4, 8)


@pytest.mark.parametrize("padding", ["mask", "attend"])
def test_melody_by_text_alone(
    tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, padding: Literal["mask", "attend"]
):
    monkeypatch.setenv("MOODLENS_CACHE", str(tmp_path / "cache"))
    give_melody_parts(monkeypatch)
    melody = save_tiny_audiocraft(tmp_path / "melody", tiny_t5, "melody", seed=1)
    backend = loaded(Path(f"audiocraft:{melody}"), padding)
    assert {point.split(".")[0] for point in backend.hookpoints()} == {
        "residual", "self_attention", "mlp", "final_norm"
    }  # fmt: skip
    check_equal(backend, loaded(melody, padding))  # the latter converted
    with pytest.raises(UsageError, match=r"got 'cross_attention'\. This model has: residual, self_attention"):
        backend.generate(requests(TEXTS), Sampling(4), Capture(("cross_attention",)))


def test_melody_without_the_packages_that_its_chroma_needs(
    tiny_t5: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as parts:
        give_melody_parts(parts)
        melody = save_tiny_audiocraft(tmp_path / "melody", tiny_t5, "melody")
    monkeypatch.setitem(sys.modules, "demucs", None)
    with pytest.raises(UsageError) as caught:
        loaded(Path(f"audiocraft:{melody}"))
    line = str(caught.value)
    assert line.startswith("demucs must be installed for audiocraft to load this model")
    assert "moodlens models convert" in line
    assert "\n" not in line


def rewritten(folder: Path, changes: dict[str, object]) -> Path:
    path = folder / "state_dict.bin"
    package = torch.load(path, weights_only=True)
    package["xp.cfg"] = yaml.safe_dump(yaml.safe_load(package["xp.cfg"]) | changes)
    torch.save(package, path)
    return folder


def test_an_untrained_twin(audiocraft_folder: Path):
    backend = loaded(Path(f"audiocraft:{audiocraft_folder}"))
    with as_audiocraft_runs():
        twin, again = backend.random_twin(0), backend.random_twin(0)
    codes = backend.generate(requests(TEXTS), Sampling(N_FRAMES), Capture()).codes
    states = [
        m.teacher_force(codes, TEXTS, Capture()).values["residual.2/cond"] for m in (backend, twin, again)
    ]
    assert np.array_equal(states[1], states[2])
    assert np.abs(states[0] - states[1]).max() > 0.01
    assert np.abs(backend.encode_text(["sad"])[0].hidden - twin.encode_text(["sad"])[0].hidden).max() > 0.01
    assert np.array_equal(twin.decode(codes), backend.decode(codes))
    assert twin.info.weights_sha256 != backend.info.weights_sha256


def test_a_description_without_loading(audiocraft_folder: Path):
    model = Model(f"audiocraft:{audiocraft_folder}", "", "float32", "cpu")
    info = catalog.describe(catalog.find(model, Path("/")), model)
    assert (info.n_layers, info.d_model, info.d_text, info.n_codebooks) == (3, 32, 16, 4)
    assert (info.frame_rate_hz, info.sample_rate_hz, info.codebook_size) == (50.0, 16000, 32)
    assert len(info.weights_sha256) == 64


def magnet(folder: Path) -> None:
    rewritten(folder, {"lm_model": "transformer_lm_magnet"})


def other_solver(folder: Path) -> None:
    rewritten(folder, {"solver": "jasco"})


def no_codec(folder: Path) -> None:
    (folder / "compression_state_dict.bin").unlink()


def codec_elsewhere(folder: Path) -> None:
    torch.save({"pretrained": "facebook/encodec_32khz"}, folder / "compression_state_dict.bin")


@pytest.mark.parametrize(
    ("damage", "kind", "words"),
    [
        (magnet, UsageError, "MAGNeT fills sequences in: no decoder steps"),
        (other_solver, UsageError, "solver must be musicgen or audiogen; got 'jasco'"),
        (no_codec, ContractError, "must hold compression_state_dict.bin"),
        (codec_elsewhere, UsageError, "the codec must be in the folder; got 'facebook/encodec_32khz'"),
    ],
)
def test_what_audiocraft_cannot_run(folder: Path, damage: Any, kind: type[MoodLensError], words: str):
    damage(folder)
    with pytest.raises(kind) as caught:
        catalog.find(Model(f"audiocraft:{folder}", "", "float32", "cpu"), Path("/"))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bad_requests(audiocraft_folder: Path):
    with pytest.raises(UsageError, match=r"model\.dtype must be float32 under audiocraft; got 'bfloat16'"):
        loaded(Path(f"audiocraft:{audiocraft_folder}"), dtype="bfloat16")
    backend = loaded(Path(f"audiocraft:{audiocraft_folder}"))
    with pytest.raises(UsageError, match="a prompt must hold words"):
        backend.encode_text([" "])
    with pytest.raises(UsageError, match="ask for clips and frames"):
        backend.generate([], Sampling(4), Capture())
    with pytest.raises(UsageError, match="Did you mean 'residual'"):
        backend.generate(requests(TEXTS), Sampling(4), Capture(("residuals",)))
