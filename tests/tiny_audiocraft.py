"""Small MusicGens of random weights, built by audiocraft itself and written in its own layout.

The configuration has the form of a published `xp.cfg` (`${references}` included); sizes are small. The
attention runs in torch (`custom`), as the published ones do once xformers is absent.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from transformers import T5Config, T5EncoderModel

from moodlens.backends.audiocraft.stand_ins import import_audiocraft
from moodlens.organism.architecture import build_tokenizer

D_TEXT, D_MODEL, N_LAYERS = 16, 32, 3


@contextmanager
def as_audiocraft_runs() -> Iterator[None]:
    """Let audiocraft warn of what was deprecated since its last release; our own warnings stay errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def save_tiny_t5(folder: Path) -> Path:
    """Write a text encoder of width 16 with the organism's tokenizer."""
    tokenizer = build_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=D_TEXT, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        dropout_rate=0.0, feed_forward_proj="relu", pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        T5EncoderModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def language_config(t5: Path, kind: str = "mono") -> dict[str, Any]:
    """Return the language model's xp.cfg; kind is mono, stereo or melody."""
    n_q, stereo, melody = (8, True, False) if kind == "stereo" else (4, False, kind == "melody")
    conditioners: dict[str, Any] = {
        "args": {"merge_text_conditions_p": 0.25, "drop_desc_p": 0.5},
        "description": {
            "model": "t5",
            "t5": {"name": str(t5), "finetune": False, "word_dropout": 0.2, "normalize_text": False},
        },
    }
    if melody:
        chroma = {"sample_rate": "${sample_rate}", "n_chroma": 12, "radix2_exp": 14, "argmax": True,
                  "match_len_on_eval": False, "eval_wavs": None,
                  "n_eval_wavs": 100, "cache_path": None}  # fmt: skip
        conditioners["self_wav"] = {"model": "chroma_stem", "chroma_stem": chroma}
    return {
        "device": "cuda", "dtype": "float16", "sample_rate": 16000, "channels": 2 if stereo else 1,
        "solver": "musicgen", "lm_model": "transformer_lm", "dataset": {"segment_duration": 30},
        "transformer_lm": {
            "dim": D_MODEL, "num_heads": 4, "num_layers": N_LAYERS, "hidden_scale": 4, "n_q": n_q, "card": 32,
            "dropout": 0.0, "emb_lr": None, "activation": "gelu", "norm_first": True, "bias_ff": False,
            "bias_attn": False, "bias_proj": False, "past_context": None, "causal": True, "custom": True,
            "memory_efficient": False, "attention_as_float32": False, "layer_scale": None,
            "positional_embedding": "sin", "xpos": False, "checkpointing": "none", "weight_init": "gaussian",
            "depthwise_init": "current", "zero_bias_init": True, "norm": "layer_norm",
            "cross_attention": False,
            "qk_layer_norm": False, "qk_layer_norm_cross": False, "attention_dropout": None, "kv_repeat": 1,
            "two_step_cfg": False,
        },
        "codebooks_pattern": {
            "modeling": "delay",
            "delay": {"delays": [k // 2 if stereo else k for k in range(n_q)], "flatten_first": 0,
                      "empty_initial": 0},
        },
        "interleave_stereo_codebooks": {"use": stereo, "per_timestep": False},
        "conditioners": conditioners,
        "fuser": {
            "cross_attention_pos_emb": False, "cross_attention_pos_emb_scale": 1, "sum": [],
            "input_interpolate": [], "prepend": ["self_wav", "description"] if melody else [],
            "cross": [] if melody else ["description"],
        },
        "classifier_free_guidance": {"training_dropout": 0.3, "inference_coef": 3.0},
        "attribute_dropout": {"args": {"active_on_eval": False}, "text": {}, "wav": {}},
    }  # fmt: skip


def codec_config() -> dict[str, Any]:
    """Return the codec's xp.cfg: 16 kHz, 50 frames/s, 4 codebooks of 32."""
    return {
        "device": "cuda", "sample_rate": 16000, "channels": 1, "compression_model": "encodec",
        "encodec": {"autoencoder": "seanet", "quantizer": "rvq", "sample_rate": "${sample_rate}",
                    "channels": "${channels}", "causal": False, "renormalize": False},
        "seanet": {
            "dimension": 8, "channels": "${channels}", "causal": "${encodec.causal}", "n_filters": 4,
            "n_residual_layers": 1, "ratios": [8, 5, 8], "activation": "ELU",
            "activation_params": {"alpha": 1.0},
            "norm": "weight_norm", "norm_params": {}, "kernel_size": 7, "residual_kernel_size": 3,
            "last_kernel_size": 7, "dilation_base": 2, "pad_mode": "constant", "true_skip": True,
            "compress": 2, "lstm": 2, "disable_norm_outer_blocks": 0,
            "decoder": {"trim_right_ratio": 1.0, "final_activation": None, "final_activation_params": None},
            "encoder": {},
        },
        "rvq": {"n_q": 4, "q_dropout": False, "bins": 32, "decay": 0.99, "kmeans_init": True,
                "kmeans_iters": 50, "threshold_ema_dead_code": 2, "orthogonal_reg_weight": 0.0,
                "orthogonal_reg_active_codes_only": False},
    }  # fmt: skip


def save_tiny_audiocraft(folder: Path, t5: Path, kind: str = "mono", seed: int = 0) -> Path:
    """Write a model of random weights in audiocraft layout and return the folder."""
    import_audiocraft()
    from audiocraft.models import builders
    from omegaconf import OmegaConf

    folder.mkdir(parents=True, exist_ok=True)
    know_t5(t5)
    configs = language_config(t5, kind), codec_config()
    with as_audiocraft_runs(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        on_cpu = [OmegaConf.create(config | {"device": "cpu", "dtype": "float32"}) for config in configs]
        language, codec = builders.get_lm_model(on_cpu[0]), builders.get_compression_model(on_cpu[1])
        for name, parameter in language.named_parameters():
            if "norm" in name:  # untrained norms are 1 and 0: they would hide a swap
                parameter.data.add_(0.2 * torch.randn_like(parameter))
        for layer in codec.quantizer.vq.layers:
            layer._codebook.embed.normal_()
            layer._codebook.inited.fill_(1)
    names = ("state_dict.bin", "compression_state_dict.bin")
    for name, config, model in zip(names, configs, (language, codec), strict=True):
        package = {"xp.cfg": yaml.safe_dump(config), "best_state": model.state_dict(), "version": "1.3.0"}
        torch.save(package, folder / name)
    return folder


class Spectrogram(torch.nn.Module):
    """Power spectrogram as torchaudio defines it (`normalized=True`): what the chroma of silence needs."""

    def __init__(self, n_fft: int, win_length: int, hop_length: int, **_: object) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(win_length))

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        flat = waveform.reshape(-1, waveform.shape[-1])
        spectrum = torch.stft(flat, self.n_fft, self.hop_length, window=self.window, return_complex=True)
        power = (spectrum / self.window.pow(2).sum().sqrt()).abs().pow(2)
        return power.reshape(*waveform.shape[:-1], *power.shape[-2:])


class Stems(torch.nn.Module):
    """In the place of demucs, which separates a given melody; no melody is given here."""

    def __init__(self) -> None:
        super().__init__()
        self.sources = ["drums", "bass", "other", "vocals"]


def give_melody_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let audiocraft make a melody model: give it what silence needs of torchaudio and demucs."""
    import_audiocraft()
    import audiocraft.modules.chroma as chroma

    demucs, pretrained = ModuleType("demucs"), ModuleType("demucs.pretrained")
    pretrained.get_model, demucs.pretrained = lambda _name: Stems(), pretrained  # type: ignore[attr-defined]
    for module in (demucs, pretrained):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(chroma.torchaudio.transforms, "Spectrogram", Spectrogram)


def know_t5(t5: Path) -> None:
    """Tell audiocraft of a local text encoder: it accepts names from its own list only."""
    import_audiocraft()
    from audiocraft.modules.conditioners import T5Conditioner

    if str(t5) not in T5Conditioner.MODELS:
        T5Conditioner.MODELS.append(str(t5))
        T5Conditioner.MODELS_DIMS[str(t5)] = D_TEXT


def load_audiocraft(folder: Path) -> Any:
    """Return the model as audiocraft itself loads it."""
    import_audiocraft()
    from audiocraft.models import MusicGen

    with as_audiocraft_runs():
        return MusicGen.get_pretrained(str(folder), device="cpu")
