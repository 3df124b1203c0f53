"""Whether the tensors of a folder are those of its configuration, before any weight is read.

The model is built without memory for its weights, by transformers itself, and names and shapes are compared
with the headers of the weight files. `moodlens models verify` and loading both ask here, so that they agree.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import AutoConfig, AutoTokenizer, T5EncoderModel

from moodlens.backends.checkpoint import TOKENIZERS, Checkpoint
from moodlens.backends.weight_files import FLOATS, Stored, missing, read_json, tensors_of, weight_files
from moodlens.base.errors import ContractError, UsageError, must

OLDER = (
    (re.compile(r"\.weight_g$"), ".parametrizations.weight.original0"),
    (re.compile(r"\.weight_v$"), ".parametrizations.weight.original1"),
)
"""Names of earlier versions of transformers, which it still reads."""
DERIVED = re.compile(r"\.embed_positions\.weights$|\.embed_tokens\.weight$|^text_encoder\.shared\.weight$")
"""Tensors that may be absent or superfluous: computed from sizes, or one matrix under two names."""
TIED = ("text_encoder.shared.weight", "text_encoder.encoder.embed_tokens.weight")
REFUSED = (
    OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, RuntimeError, ZeroDivisionError,
    ImportError, OverflowError, AssertionError, NotImplementedError, StrictDataclassError,
)  # fmt: skip
"""What transformers raises on a configuration or tokenizer that it cannot use."""
TOGETHER = "config.json and the weights do not belong together: restore the one that was changed"
PROBE = "a happy piano piece"


def check_fit(checkpoint: Checkpoint, model_class: Any) -> None:
    """Check that the weights are those of the configuration, by name and shape, and none besides.

    Args:
        checkpoint: verified by `verify_checkpoint`.
        model_class: class of transformers that will load it.

    Raises:
        UsageError: an adapter is not merged.
        ContractError: a weight is missing, superfluous, quantised or of another shape; or transformers
            refuses the configuration.
    """
    wanted = _wanted(checkpoint.folder, model_class)
    stored = tensors_of(checkpoint.folder, checkpoint.weights)
    found = {_renamed(name): tensor for name, tensor in stored.items()}
    for name in sorted(wanted.keys() | found.keys()):
        got = _fault(name, wanted, found)
        if got:
            where = str(checkpoint.folder)
            raise ContractError(
                must("model weights", "fit config.json", got, where=where, next_step=TOGETHER)
            )
    if not any(name in found for name in TIED):
        got = f"missing {TIED[0]}"
        raise ContractError(must("model weights", "fit config.json", got, next_step=TOGETHER))


def _fault(name: str, wanted: Mapping[str, torch.Tensor], found: Mapping[str, Stored]) -> str:
    """Return what is wrong with one weight, "" if nothing is."""
    if name not in found:
        return "" if _may_be_absent(name) else f"missing {name}"
    if name not in wanted:
        return "" if DERIVED.search(name) else f"unexpected {name}"
    shape, dtype = tuple(wanted[name].shape), found[name].dtype
    if found[name].shape != shape:
        return f"{name} of shape {found[name].shape}, not {shape}"
    if wanted[name].is_floating_point() and dtype not in FLOATS:
        return f"{name} in {dtype}"
    return ""


def _may_be_absent(name: str) -> bool:
    return name in TIED or name.endswith(".embed_positions.weights")


def _renamed(name: str) -> str:
    for pattern, new in OLDER:
        name = pattern.sub(new, name)
    return name


def _wanted(folder: Path, model_class: Any) -> dict[str, torch.Tensor]:
    """Return name -> tensor without memory of the model that the configuration describes."""
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
        with torch.device("meta"):
            return model_class(config).state_dict()
    except REFUSED as error:
        raise refused(folder / "config.json", "describe a model that transformers can build", error) from None


def check_text_encoder(folder: Path) -> None:
    """Check that a folder holds a T5 and its tokenizer: every weight of its encoder is there and fits.

    Weights of a T5 decoder may lie beside them.

    Raises:
        UsageError: it is no T5, or its weights are pickles.
        ContractError: a file is absent or damaged, a weight is missing or of another shape, or transformers
            refuses the configuration or the tokenizer.
    """
    kind = read_json(folder / "config.json").get("model_type")
    if kind != "t5":
        advice = "Name the T5 that the model was trained with"
        raise UsageError(must("the text encoder", "be a T5", str(kind), where=str(folder), next_step=advice))
    wanted = _wanted(folder, T5EncoderModel)
    found = tensors_of(folder, weight_files(folder))
    tied = [name.removeprefix("text_encoder.") for name in TIED]
    got = "" if any(name in found for name in tied) else f"missing {tied[0]}"
    for name in sorted(wanted):
        got = got or ("" if name in tied and name not in found else _fault(name, wanted, found))
    if got:
        raise ContractError(
            must("the text encoder", "fit its config.json", got, where=str(folder), next_step=TOGETHER)
        )
    if not any((folder / name).is_file() for name in TOKENIZERS):  # transformers would make an empty one
        raise missing(folder, " or ".join(TOKENIZERS))
    load_tokenizer(folder, len(wanted["shared.weight"]))


def load_tokenizer(folder: Path, n_known: int) -> Any:
    """Return the tokenizer of a folder, after it has split a text into tokens of the model's vocabulary.

    Tokens that transformers adds to it (`<extra_id_0>`) may lie beyond that vocabulary: `encode_text` refuses
    a text that holds one.

    Args:
        folder: that holds it.
        n_known: tokens of the text encoder.

    Raises:
        ContractError: transformers refuses it, or it has tokens that the text encoder lacks.
    """
    rule = "hold a tokenizer that transformers can load"
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ids = tokenizer(PROBE, return_offsets_mapping=True)["input_ids"]
        own = tokenizer.backend_tokenizer.get_vocab(with_added_tokens=False)
        largest = max([*own.values(), *ids], default=0)
    except REFUSED as error:
        raise refused(folder, rule, error) from None
    if not ids or largest >= n_known:
        got = f"token {largest}" if ids else "no token of a text"
        advice = "Restore the tokenizer's files: they belong to another model"
        rule = f"be of the text encoder's {n_known} tokens"
        raise ContractError(must(f"tokenizer of {folder}", rule, got, next_step=advice))
    return tokenizer


def refused(thing: Path, rule: str, error: BaseException) -> ContractError:
    """Return the error for what transformers refuses, with the first line of its reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    advice = "Restore the file: download or copy it again"
    return ContractError(must(str(thing), rule, reason, next_step=advice))
