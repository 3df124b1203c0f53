"""Devices and half precision on the CPU: finite, and as close to float32 as the mantissa allows."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from moodlens.backends import catalog
from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Capture, ClipRequest, Sampling
from moodlens.params.pipeline import Model

MAPS = Path("/proc/self/maps")
TEXTS = ["a happy piano piece", "sad"]
REQUESTS = [ClipRequest(f"c{i}", f"p{i}", text, i) for i, text in enumerate(TEXTS)]


def loaded(folder: Path, dtype: Any, device: str = "cpu") -> Any:
    return catalog.load(Model(str(folder), "", dtype, device), folder)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.03), ("float16", 0.004)])
def test_half_precision_is_close_to_float32(tiny_folder: Path, dtype: str, tolerance: float):
    exact, half = loaded(tiny_folder, "float32"), loaded(tiny_folder, dtype)
    assert half.parts[0].dtype == getattr(torch, dtype)
    codes = exact.generate(REQUESTS, Sampling(16), Capture()).codes
    capture = Capture(sites=("residual", "cross_attention"))
    exact_states, half_states = (model.teacher_force(codes, TEXTS, capture).values for model in (exact, half))
    for key, states in exact_states.items():
        assert half_states[key].dtype == np.float32
        assert np.isfinite(half_states[key]).all()
        off = np.linalg.norm(half_states[key] - states) / np.linalg.norm(states)
        assert 0 < off < tolerance, key
    made = half.generate(REQUESTS, Sampling(16), Capture(dtype="float16", summaries=True))
    assert np.isfinite(made.states.values["residual.1/cond"]).all()
    assert (made.states.figures["residual.1/cond/finite_fraction"] == 1).all()
    forced = half.teacher_force(made.codes, TEXTS, Capture())
    off = np.abs(forced.values["residual.1/cond"] - made.states.values["residual.1/cond"])
    assert off.max() < 8 * tolerance * np.abs(forced.values["residual.1/cond"]).max()
    audio, right_audio = half.decode(codes), exact.decode(codes)
    assert np.isfinite(audio).all()
    assert np.linalg.norm(audio - right_audio) < 10 * tolerance * np.linalg.norm(right_audio)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_twin_in_half_precision(tiny_folder: Path, dtype: str):
    before = torch.get_default_dtype()
    half = loaded(tiny_folder, dtype)
    twin = half.random_twin(0)
    assert torch.get_default_dtype() == before == torch.float32
    assert {parameter.dtype for parameter in twin.parts[0].parameters()} == {getattr(torch, dtype)}
    codes = np.zeros((2, 4, 16), dtype=np.int16)
    states = twin.teacher_force(codes, TEXTS, Capture()).values["residual.1/cond"]
    assert np.isfinite(states).all()
    assert states.std() > 0.01


@pytest.mark.skipif(not MAPS.is_file(), reason="only Linux lists the files that a process has mapped")
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_16_bits_do_not_keep_the_float32_file_mapped(tiny_folder: Path, tmp_path: Path, dtype: str):
    """In float16 transformers keeps weights of T5 in float32; as views they kept the whole file mapped."""
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    weights = load_file(tiny_folder / "model.safetensors")
    save_file(
        {name: tensor.float() for name, tensor in weights.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    half = loaded(folder, dtype)
    kinds = {parameter.dtype for parameter in half.parts[0].parameters()}
    assert (torch.float32 in kinds) == (dtype == "float16")
    assert str(folder) not in MAPS.read_text(encoding="utf-8")


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_an_absent_device(tiny_folder: Path, device: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UsageError) as caught:
        loaded(tiny_folder, "float32", device)
    line = str(caught.value)
    assert line == (f"model.device must be present on this machine; got '{device}'. Set model.device to cpu.")
