"""Faults of model folders: each function changes a copy of the tiny model in one way."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file

Damage = Callable[[Path], None]
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PT = {"format": "pt"}


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    """Change the tensors of the weight file in place."""

    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        change(held)
        save_file(held, folder / WEIGHTS, PT)

    return damage


def without(part: str) -> Damage:
    """Leave out the tensors whose names hold `part`."""

    def change(held: dict[str, torch.Tensor]) -> None:
        names = [name for name in held if part in name]
        assert names, part
        for name in names:
            del held[name]

    return tensors(change)


def with_tensor(name: str, *shape: int) -> Damage:
    return tensors(lambda held: held.update({name: torch.ones(*shape)}))


def retyped(part: str, dtype: torch.dtype) -> Damage:
    def change(held: dict[str, torch.Tensor]) -> None:
        held.update({name: values.to(dtype) for name, values in held.items() if part in name})

    return tensors(change)


def configured(path: str, value: object) -> Damage:
    """Set a dotted key of config.json; None removes it."""

    def damage(folder: Path) -> None:
        file = folder / "config.json"
        config = json.loads(file.read_text())
        *parts, key = path.split(".")
        section = config
        for part in parts:
            section = section[part]
        if value is None:
            section.pop(key, None)
        else:
            section[key] = value
        file.write_text(json.dumps(config))

    return damage


def nothing(_index: dict[str, Any], _folder: Path) -> None:
    return


def shards(change: Callable[[dict[str, Any], Path], object] = nothing, keep: bool = False) -> Damage:
    """Split the weights into two shards, change their index; `keep` leaves the single file too."""

    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        parts: dict[str, dict[str, torch.Tensor]] = {"a.safetensors": {}, "b.safetensors": {}}
        for i, name in enumerate(sorted(held)):
            parts["a.safetensors" if i % 2 else "b.safetensors"][name] = held[name]
        index: dict[str, Any] = {
            "metadata": {},
            "weight_map": {n: file for file, own in parts.items() for n in own},
        }
        for file, own in parts.items():
            save_file(own, folder / file, PT)
        change(index, folder)
        (folder / INDEX).write_text(json.dumps(index))
        if not keep:
            (folder / WEIGHTS).unlink()

    return damage


def beside(name: str, content: str = "{}") -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_text(content)

    return damage


def bytes_of(name: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))

    return damage


def tokens(change: Callable[[dict[str, Any]], None]) -> Damage:
    def damage(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        change(content)
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return damage


def _another_file(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "other.safetensors")


def _only_pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def _other_kind(folder: Path) -> None:
    (folder / "tokenizer.json").rename(folder / "spiece.model")


def _no_format(folder: Path) -> None:
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS)


def _swapped_shards(index: dict[str, Any], _folder: Path) -> None:
    other = {"a.safetensors": "b.safetensors", "b.safetensors": "a.safetensors"}
    index["weight_map"] = {name: other[file] for name, file in index["weight_map"].items()}


def _outside(index: dict[str, Any], folder: Path) -> None:
    shutil.copy(folder / "a.safetensors", folder.parent / "a.safetensors")
    index["weight_map"] = {
        name: f"../{file}" if file.startswith("a") else file for name, file in index["weight_map"].items()
    }


Q = "decoder.model.decoder.layers.0.self_attn.q_proj"
REFUSED: Mapping[str, Damage] = {
    "fewer layers configured": configured("decoder.num_hidden_layers", 1),
    "more layers configured": configured("decoder.num_hidden_layers", 3),
    "fewer text layers": configured("text_encoder.num_layers", 0),
    "fewer codebooks": configured("decoder.num_codebooks", 2),
    "wider feed-forward": configured("decoder.ffn_dim", 128),
    "narrower": configured("decoder.hidden_size", 16),
    "odd heads": configured("decoder.num_attention_heads", 3),
    "another vocabulary": configured("decoder.vocab_size", 64),
    "another codebook": configured("audio_encoder.codebook_size", 64),
    "no rate": configured("audio_encoder.sampling_rate", 0),
    "rate as text": configured("audio_encoder.sampling_rate", "16k"),
    "no ratios": configured("audio_encoder.upsampling_ratios", []),
    "ratio 0": configured("audio_encoder.upsampling_ratios", [5, 0, 32]),
    "text encoder of another kind": configured("text_encoder.model_type", "bert"),
    "text encoder without a kind": configured("text_encoder.model_type", None),
    "unknown activation": configured("decoder.activation_function", "swoosh"),
    "unknown feed-forward": configured("text_encoder.feed_forward_proj", "a-b-c"),
    "layers as text": configured("decoder.num_hidden_layers", "two"),
    "decoder as a list": configured("decoder", [1]),
    "quantised": configured("quantization_config", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
    "codec norm unknown": configured("audio_encoder.norm_type", "batch"),
    "unmerged LoRA": with_tensor(f"{Q}.lora_A.default.weight", 4, 32),
    "base layer of an adapter": with_tensor(f"{Q}.base_layer.weight", 32, 32),
    "unexpected tensor": with_tensor("decoder.model.decoder.layers.0.self_attn.bias_k", 32),
    "unexpected head": with_tensor("steering.weight", 32),
    "a layer is missing": without("decoder.layers.1."),
    "a weight is missing": without(f"{Q}.weight"),
    "text encoder is missing": without("text_encoder."),
    "codec is missing": without("audio_encoder.decoder."),
    "transposed shape": tensors(lambda held: held.update({f"{Q}.weight": torch.ones(32, 31)})),
    "8-bit weights": retyped(f"{Q}.weight", torch.int8),
    "8-bit floats": retyped(f"{Q}.weight", torch.float8_e4m3fn),
    "adapter beside": beside("adapter_config.json"),
    "another weight file": _another_file,
    "pickle alone": _only_pickle,
    "index beside the file": shards(keep=True),
    "index names the other shard": shards(_swapped_shards),
    "index leaves a tensor out": shards(lambda index, _: index["weight_map"].pop(f"{Q}.weight")),
    "index names a file outside": shards(_outside),
    "index without metadata": shards(lambda index, _: index.pop("metadata")),
    "index without a map": shards(lambda index, _: index.clear()),
    "shard is absent": shards(lambda _, folder: (folder / "a.safetensors").unlink()),
    "no format stated": _no_format,
    "cut": bytes_of(WEIGHTS, lambda content: content[:-64]),
    "longer": bytes_of(WEIGHTS, lambda content: content + bytes(64)),
    "header flipped": bytes_of(WEIGHTS, lambda content: content[:40] + b"\xff" + content[41:]),
    "tokenizer is broken": bytes_of("tokenizer.json", lambda content: content[:100]),
    "tokenizer is empty": beside("tokenizer.json"),
    "tokenizer of another model": tokens(
        lambda content: content["model"]["vocab"].extend([f"piece{i}", -9.0] for i in range(2000))
    ),
    "tokenizer of the other kind": _other_kind,
}  # fmt: skip
SERVED: Mapping[str, Damage] = {
    "shards": shards(),
    "positions stored": with_tensor("decoder.model.decoder.embed_positions.weights", 2048, 32),
    "sizes left out": configured("decoder.audio_channels", None),
    "only a tokenizer": lambda folder: (folder / "tokenizer_config.json").unlink(),
    "tokenizer class unknown": beside("tokenizer_config.json", '{"tokenizer_class": "NoSuchTokenizer"}'),
    "no generation config": lambda folder: (folder / "generation_config.json").unlink(),
    "a pickle beside": beside("training_args.bin", "pickle"),
    "64 bits": retyped(Q, torch.float64),
    "half precision": retyped("", torch.float16),
    "bfloat16": retyped("", torch.bfloat16),
    "single precision": retyped("", torch.float32),
    "precisions mixed": retyped("layers.0.", torch.bfloat16),
}


def naming(name: object) -> Damage:
    """Name another text encoder in xp.cfg of an audiocraft folder."""

    def damage(folder: Path) -> None:
        path = folder / "state_dict.bin"
        package = torch.load(path, weights_only=True)
        config = yaml.safe_load(package["xp.cfg"])
        config["conditioners"]["description"]["t5"]["name"] = name
        torch.save(package | {"xp.cfg": yaml.safe_dump(config)}, path)

    return damage


def in_t5(damage: Damage) -> Damage:
    """Damage the text encoder, which lies in the folder `t5` beside the model."""
    return lambda folder: damage(folder.parent / "t5")


def _no_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def _t5_config(key: str, value: object) -> Damage:
    return in_t5(configured(key, value))


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def _t5_as_pickle(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


AUDIOCRAFT_REFUSED: Mapping[str, Damage] = {
    "a text encoder of another machine": naming("/home/someone/models/t5-base"),
    "a text encoder by a relative path": naming("./t5"),
    "a text encoder of the hub, which is away": naming("t5-base"),
    "a text encoder that is a number": naming(3),
    "a text encoder without a name": naming(None),
    "a text encoder that is a list": naming(["t5", "base"]),
    "the model itself as text encoder": naming("."),
    "an empty text encoder": in_t5(_empty),
    "a text encoder without a tokenizer": in_t5(_no_tokenizer),
    "a text encoder with a cut tokenizer": in_t5(bytes_of("tokenizer.json", lambda content: content[:100])),
    "a text encoder with a larger tokenizer": in_t5(REFUSED["tokenizer of another model"]),
    "a text encoder of another width": _t5_config("d_model", 24),
    "a text encoder of two layers": _t5_config("num_layers", 2),
    "a text encoder with an unknown activation": _t5_config("feed_forward_proj", "a-b-c"),
    "a text encoder with layers as text": _t5_config("num_layers", "two"),
    "a text encoder of another kind": _t5_config("model_type", "bert"),
    "a cut text encoder": in_t5(bytes_of(WEIGHTS, lambda content: content[:-64])),
    "a pickled text encoder": in_t5(_t5_as_pickle),
}
AUDIOCRAFT_SERVED: Mapping[str, Damage] = {
    "as exported": lambda folder: None,
    "a text encoder in half precision": in_t5(retyped("", torch.float16)),
    "a text encoder with one kind of tokenizer": in_t5(
        lambda folder: (folder / "tokenizer_config.json").unlink()
    ),
}
