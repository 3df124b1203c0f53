"""Conversion of SAEs to and from SAELens: the fields of cfg.json and the tensors of the weights file.

SAELens has four architectures for inference: `standard` (relu here), `topk`, `jumprelu` (also used for
BatchTopK and Matryoshka, with their threshold) and `gated`. Our SAEs subtract b_dec from the input
(`apply_b_dec_to_input`) and neither normalise nor reshape it. Other input treatments are folded into the
weights where that is exact, and refused otherwise.

Source: jbloomAus/SAELens 6, `saes/{standard,topk,jumprelu,gated}_sae.py`, `sae.py` (fold_*).
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from moodlens.base.errors import ContractError, must, nearest
from moodlens.sae.batchtopk import BatchTopKSae
from moodlens.sae.catalog import config_for, sae_for
from moodlens.sae.model import Sae, config_values

FORMAT_VERSION = "6.0.0"
"""SAELens release whose directory layout is used."""
OUR_NAMES = {"standard": "relu", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
SAELENS_NAMES = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"} | {
    "batchtopk": "jumprelu",
    "matryoshka": "jumprelu",
}
BIASES: dict[str, tuple[str, ...]] = {
    "standard": ("b_enc",),
    "topk": ("b_enc",),
    "jumprelu": ("b_enc", "threshold"),
    "gated": ("b_gate", "b_mag", "r_mag"),
}
"""Tensors of shape (d_sae,) of each SAELens architecture; W_enc, W_dec and b_dec are common to all."""
RATE_OFFSET = 1e-10
"""Added to a firing rate before its logarithm, as SAELens does."""


def folded(sae: Sae, scale: float) -> Sae:
    """Return an SAE for unscaled rows that acts like `sae` on rows times `scale`.

    Latents are the same; the reconstruction is divided by `scale`.

    Source: SAELens `fold_activation_norm_scaling_factor`.
    """
    plain = copy.deepcopy(sae)
    with torch.no_grad():
        plain.W_enc.mul_(scale)
        plain.W_dec.div_(scale)
        plain.b_dec.div_(scale)
    return plain


def to_saelens(sae: Sae, about: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the content of cfg.json and the tensors of an SAE.

    Args:
        sae: takes rows in model units.
        about: JSON values, stored in `metadata.moodlens` with architecture and settings.
    """
    form = SAELENS_NAMES[sae.name]
    config: dict[str, Any] = {
        "architecture": form,
        "d_in": sae.config.d_in,
        "d_sae": sae.config.d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": FORMAT_VERSION,
            "moodlens": {"architecture": sae.name, "settings": config_values(sae.config), **(about or {})},
        },
    }
    if form == "topk":
        config |= {"k": config_values(sae.config)["k"], "rescale_acts_by_decoder_norm": False}
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in sae.state_dict().items()}
    if isinstance(sae, BatchTopKSae):
        tensors["threshold"] = tensors["threshold"].expand(sae.config.d_sae).contiguous()
    return config, tensors


def from_saelens(config: Mapping[str, Any], tensors: Mapping[str, Tensor], where: str = "") -> Sae:
    """Return the SAE of a cfg.json and its tensors, in evaluation mode.

    A BatchTopK or Matryoshka SAE is returned as jumprelu, the architecture it was saved as.

    Args:
        config: content of cfg.json.
        tensors: by name.
        where: location that errors name, for example the folder.

    Raises:
        ContractError: the architecture is unknown, a tensor is missing, unknown, of another shape or not
            finite, or the config requests an input treatment that cannot be folded into the weights.
    """
    form = str(config.get("architecture"))
    if form not in OUR_NAMES:
        _refuse(
            "architecture", f"be one of {', '.join(OUR_NAMES)}", form, where, nearest(form, list(OUR_NAMES))
        )
    d_in, d_sae = (_width(config, name, where) for name in ("d_in", "d_sae"))
    for name in ("normalize_activations", "reshape_activations"):
        value = config.get(name, "none")
        if value != "none":
            _refuse(name, "be none", value, where, "Fold it into the weights with SAELens before saving")
    settings: dict[str, Any] = {"d_in": d_in, "d_sae": d_sae}
    if form == "topk":
        settings["k"] = _width(config, "k", where)
    sae = sae_for(config_for(OUR_NAMES[form], settings))
    with torch.no_grad():
        for name, tensor in _weights(form, d_in, d_sae, tensors, where).items():
            sae.get_parameter(name).copy_(tensor)
        if form == "jumprelu":
            sae.get_parameter("threshold").clamp_min_(0.0)  # SAELens applies relu before it compares
        if config.get("rescale_acts_by_decoder_norm", False):
            _fold_decoder_norm(sae)
        if not config.get("apply_b_dec_to_input", True):
            _fold_centring(sae)
    return sae.eval().requires_grad_(False)


def log_firing_rate(n_fired: Tensor, n_rows: int) -> Float[Tensor, " d_sae"]:
    """Return log10 of each latent's firing rate: the tensor `sparsity` of sparsity.safetensors.

    >>> log_firing_rate(torch.tensor([10, 0]), 100).round().tolist()
    [-1.0, -10.0]
    """
    return torch.log10(n_fired.double() / n_rows + RATE_OFFSET).float()


def _weights(
    form: str, d_in: int, d_sae: int, tensors: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """The checked tensors of a SAELens architecture, float32."""
    shapes: dict[str, tuple[int, ...]] = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    shapes |= dict.fromkeys(BIASES[form], (d_sae,))
    for name in tensors:
        if name not in shapes:
            _refuse(
                f"tensor {name}", f"belong to {form}", "an unknown name", where, nearest(name, list(shapes))
            )
    for name, shape in shapes.items():
        tensor = tensors.get(name)
        if tensor is None:
            _refuse(f"tensor {name}", f"be there for {form}", "nothing", where, "Save the SAE again")
        elif tuple(tensor.shape) != shape:
            got = tuple(tensor.shape)
            _refuse(f"tensor {name}", f"have shape {shape}", got, where, "Compare cfg.json with the weights")
        elif not torch.isfinite(tensor).all():
            _refuse(f"tensor {name}", "be finite", "NaN or infinity", where, "Save the SAE again")
    return {name: tensors[name].float() for name in shapes}


def _fold_decoder_norm(sae: Sae) -> None:
    """Fold ranking by pre * |W_dec row| (an option of SAELens' topk): scale encoder up and decoder down."""
    norms = torch.linalg.vector_norm(sae.W_dec, dim=1).clamp_min(1e-12)
    sae.W_enc.mul_(norms)
    sae.get_parameter("b_enc").mul_(norms)
    sae.W_dec.div_(norms[:, None])


def _fold_centring(sae: Sae) -> None:
    """Fold an encoder without centring: x W = (x - b_dec) W + b_dec W, so b_dec W goes into the biases."""
    shift = sae.b_dec @ sae.W_enc
    if "b_gate" in sae.resets():
        sae.get_parameter("b_gate").add_(shift)
        sae.get_parameter("b_mag").add_(shift * torch.exp(sae.get_parameter("r_mag")))
    else:
        sae.get_parameter("b_enc").add_(shift)


def _width(config: Mapping[str, Any], name: str, where: str) -> int:
    value = config.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        _refuse(name, "be a whole number of at least 1", value, where, "Correct cfg.json")
    return int(value or 0)


def _refuse(thing: str, rule: str, got: object, where: str, advice: str) -> None:
    raise ContractError(must(thing, rule, got, where=where, next_step=advice))
