"""Conversion of a folder in audiocraft layout to transformers layout: same weights, other names, safetensors.

Language model (the rest of a name does not change; weights keep their precision)

    emb.N                                             decoder.model.decoder.embed_tokens.N
    linears.N                                         decoder.lm_heads.N
    out_norm, transformer.layers                      decoder.model.decoder.layer_norm, .layers
    cross_attention, linear1, linear2                 encoder_attn, fc1, fc2
    norm1, norm_cross, norm2                          self_attn_, encoder_attn_, final_ layer_norm
    in_proj_weight (3 d_model, d_model)               q_proj, k_proj, v_proj, one below the other
    condition_provider...description.output_proj      enc_to_dec_proj
    condition_provider...self_wav.output_proj         audio_enc_to_dec_proj (melody)

Codec

    encoder.model, decoder.model                      audio_encoder.encoder.layers, .decoder.layers
    conv.conv, convtr.convtr                          conv
    weight_g, weight_v                                parametrizations.weight.original0, original1
    quantizer.vq.layers.N._codebook                   audio_encoder.quantizer.layers.N.codebook

The text encoder is not in the folder: audiocraft's configuration names it (`t5-base`), and it is copied from
the hub's cache or from a local folder. `tests/backends/audiocraft/test_parity.py` measures parity with
audiocraft.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoTokenizer, EncodecModel, PreTrainedModel, T5EncoderModel

from moodlens.backends.audiocraft import config
from moodlens.backends.audiocraft.layout import Package, read_package, read_packages
from moodlens.backends.audiocraft.named_parts import codec_folder, text_encoder_folder
from moodlens.backends.checkpoint import AUDIOCRAFT_FILES
from moodlens.backends.musicgen.fit import check_text_encoder
from moodlens.backends.musicgen.loading import quiet_transformers
from moodlens.backends.weight_files import WEIGHTS
from moodlens.base.errors import ContractError, UsageError, must

LANGUAGE_MODEL = (
    (r"^emb\.", "decoder.model.decoder.embed_tokens."),
    (r"^linears\.", "decoder.lm_heads."),
    (r"^out_norm\.", "decoder.model.decoder.layer_norm."),
    (r"^transformer\.layers\.", "decoder.model.decoder.layers."),
    (r"\.cross_attention\.", ".encoder_attn."),
    (r"\.mha\.", "."),  # attention of models trained without xformers
    (r"\.linear([12])\.", r".fc\1."),
    (r"\.norm1\.", ".self_attn_layer_norm."),
    (r"\.norm_cross\.", ".encoder_attn_layer_norm."),
    (r"\.norm2\.", ".final_layer_norm."),
    (r"^condition_provider\.conditioners\.description\.output_proj\.", "enc_to_dec_proj."),
    (r"^condition_provider\.conditioners\.self_wav\.output_proj\.", "audio_enc_to_dec_proj."),
)
CODEC = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.conv\.conv\.|\.convtr\.convtr\.", ".conv."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"^quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
    (r"^", "audio_encoder."),
)
NOT_WEIGHTS = re.compile(r"\.chroma\.")
"""Filter banks of the chroma extractor: they follow from its sizes, and loading the model rebuilds them."""


def convert(folder: Path, target: Path, text_encoder: Path | None = None) -> Path:
    """Write the model of an audiocraft folder in transformers layout and return `target`.

    Mono, stereo (8 interleaved codebooks) and melody (chroma prefix) are converted. `target` is renamed into
    place when it is complete.

    Args:
        folder: with `state_dict.bin` and `compression_state_dict.bin`.
        target: a folder that does not exist yet.
        text_encoder: folder of the T5 in transformers layout; None takes the one the configuration names.

    Raises:
        UsageError: pickled code, not a MusicGen, an architecture that transformers cannot express, no text
            encoder, or a target that exists.
        ContractError: a file is absent or truncated, or it does not fit its configuration.

    Source: mapping checked tensor by tensor against audiocraft 1.3.0 and transformers 5.23.
    """
    if target.exists():
        advice = "Name another target, or remove it"
        raise UsageError(must("the target", "not exist yet", str(target), next_step=advice))
    model, weights, text = assembled(folder, text_encoder)
    _write(model, weights, text.name_or_path, target, folder)
    return target


def assembled(folder: Path, text_encoder: Path | None = None) -> tuple[Any, dict[str, Tensor], Any]:
    """Return model without memory, weights by name, and text encoder of an audiocraft folder.

    Arguments and errors are those of `convert`; nothing is written.
    """
    language, codec = read_packages(folder)
    config.check(language.settings)
    text = _text_encoder(text_encoder, language)
    audio, audio_weights = _codec(codec)
    model = config.skeleton(language.settings, text.config, audio)
    model.generation_config = config.generation(model.config, language.settings)
    weights = dict(renamed_language_model(language.weights))
    weights |= audio_weights
    weights |= {f"text_encoder.{name}": tensor for name, tensor in text.state_dict().items()}
    _fit(weights, model, folder)
    return model, weights, text


def parts_of(folder: Path) -> list[Path]:
    """Return the folders outside an audiocraft folder that its conversion reads: text encoder, codec.

    Raises:
        UsageError, ContractError: as `convert`.
    """
    language, codec = read_packages(folder)
    parts = [text_encoder_folder(config.text_encoder_name(language.settings))]
    return [*parts, codec_folder(codec.pretrained)] if codec.pretrained else parts


def renamed_language_model(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield name in transformers and tensor of each weight of the language model.

    >>> from torch import zeros
    >>> [name for name, _ in renamed_language_model({"emb.1.weight": zeros(3, 2)})]
    ['decoder.model.decoder.embed_tokens.1.weight']
    """
    for name, tensor in weights.items():
        if NOT_WEIGHTS.search(name):
            continue
        new = renamed(name, LANGUAGE_MODEL)
        if new.endswith("in_proj_weight"):
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                yield new.replace("in_proj_weight", f"{part}_proj.weight"), rows.contiguous()
        else:
            yield new, tensor


def renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    """Return the name of a weight after applying all rules in order.

    >>> renamed("encoder.model.0.conv.conv.weight_g", CODEC)
    'audio_encoder.encoder.layers.0.conv.parametrizations.weight.original0'
    """
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def _codec(package: Package) -> tuple[Any, dict[str, Tensor]]:
    """Return the configuration and weights of the codec; a package may name a codec in another place."""
    if package.pretrained:
        folder = codec_folder(package.pretrained)
        if (folder / AUDIOCRAFT_FILES[1]).is_file():
            return _codec(read_package(folder / AUDIOCRAFT_FILES[1]))
        try:
            with quiet_transformers():
                codec = EncodecModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0][:160]
            advice = "Put the codec's own compression_state_dict.bin into the folder"
            raise UsageError(
                must(f"codec {package.pretrained}", "load", reason, where=str(folder), next_step=advice)
            ) from None
        return codec.config, {f"audio_encoder.{name}": value for name, value in codec.state_dict().items()}
    weights = {renamed(name, CODEC): tensor for name, tensor in package.weights.items()}
    return config.codec_config(package.settings), weights


def _text_encoder(folder: Path | None, language: Package) -> Any:
    """Return the T5 in `folder`, or without a folder the one that the configuration names."""
    folder = folder or text_encoder_folder(config.text_encoder_name(language.settings))
    if (folder / "config.json").is_file():
        check_text_encoder(folder)
    try:
        with quiet_transformers():
            return T5EncoderModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:160]
        advice = "Name a folder with a T5 in transformers layout (safetensors)"
        raise UsageError(
            must("the text encoder", "load", reason, where=str(folder), next_step=advice)
        ) from None


def _fit(weights: dict[str, Tensor], model: PreTrainedModel, folder: Path) -> None:
    """Check names and shapes of the weights against the model.

    Raises:
        ContractError: a weight is missing or superfluous, or its shape differs from the configuration.
    """
    wanted = model.state_dict()
    for name in wanted.keys() | weights.keys():
        if name not in weights:
            fault, got = "hold all weights of the configuration", f"no {name}"
        elif name not in wanted:
            fault, got = "hold only weights of the configuration", name
        elif wanted[name].shape != weights[name].shape:
            fault = f"hold {name} of shape {tuple(wanted[name].shape)}"
            got = str(tuple(weights[name].shape))
        else:
            continue
        advice = "xp.cfg and best_state do not belong together: copy both files from one model"
        raise ContractError(must(f"audiocraft weights in {folder}", fault, got, next_step=advice))


def _write(model: Any, weights: dict[str, Tensor], text_encoder: str, target: Path, source: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        config.write(model, temporary)
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(text_encoder, local_files_only=True)
            config.processor(model.config, tokenizer).save_pretrained(temporary)
        # tied in T5: only one of the two names is stored, as transformers does
        weights.pop("text_encoder.encoder.embed_tokens.weight", None)
        stored = {name: weights[name].contiguous() for name in sorted(weights)}
        save_file(stored, temporary / WEIGHTS, metadata={"format": "pt"})
        temporary.chmod(0o755)
        temporary.rename(target)
    except OSError as error:
        reason = error.strerror or str(error)
        advice = f"Free disk space or correct the permissions; {source} is untouched"
        raise ContractError(must(str(target), "be writable", reason, next_step=advice)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
