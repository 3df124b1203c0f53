"""The registered model: an SAE in SAELens files, evaluated with numpy alone (MLflow "models from code").

MLflow copies this file into the model and executes it where the model is loaded, so it must stay a file of
its own and import nothing from this package. A test compares its results with those of `moodlens.sae`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from safetensors.numpy import load_file


def rows_of(model_input: Any, d_in: int) -> np.ndarray:
    """Return rows (row, d_in), float32, after checking them; see `ServedSae.predict`."""
    if isinstance(model_input, dict) and len(model_input) == 1:  # how a server may wrap one input
        model_input = next(iter(model_input.values()))
    try:
        given = np.asarray(model_input)
        if given.dtype.kind not in "fiuO":
            raise ValueError
        with np.errstate(over="ignore"):  # said below
            x = given.astype(np.float32)
    except (ValueError, TypeError):
        rule = f"activations must be numbers of shape (row, {d_in})"
        raise ValueError(f"{rule}; got {type(model_input).__name__}. Pass one row per token.") from None
    if x.ndim != 2 or x.shape[1] != d_in:
        raise ValueError(
            f"activations must have shape (row, {d_in}); got {x.shape}. "
            "Use the SAE of this hookpoint and model."
        )
    wrong = int((~np.isfinite(x)).any(axis=1).sum())
    if wrong:
        raise ValueError(
            f"activations must be finite in float32; got {wrong} of {len(x)} rows with NaN, infinity or a "
            "larger value. Leave those rows out."
        )
    return x


class ServedSae(PythonModel):
    """Latents of an SAE saved as cfg.json and sae_weights.safetensors."""

    def load_context(self, context: Any) -> None:
        """Read the artifact `sae`. MLflow prescribes the name of the parameter."""
        folder = Path(context.artifacts["sae"])
        self.config = json.loads((folder / "cfg.json").read_text(encoding="utf-8"))
        self.weights = load_file(folder / "sae_weights.safetensors")

    def predict(  # pyright: ignore[reportIncompatibleMethodOverride] (the base promises None)
        self, context: Any, model_input: np.ndarray, params: Any = None
    ) -> np.ndarray:
        """Return the latents (row, d_sae), float32, of rows (row, d_in).

        Any array, table or nested list of numbers is taken, in any precision.

        Raises:
            ValueError: not numbers, another shape, or a value that is not finite as float32; one line without
                the data.
        """
        x = rows_of(model_input, self.config["d_in"])
        w = self.weights
        hidden = (x - w["b_dec"]) @ w["W_enc"]
        architecture = self.config["architecture"]
        if architecture == "gated":
            magnitude = np.maximum(hidden * np.exp(w["r_mag"]) + w["b_mag"], 0)
            return (hidden + w["b_gate"] > 0) * magnitude
        pre = hidden + w["b_enc"]
        if architecture == "topk":
            k = self.config["k"]
            top = np.argpartition(-pre, k - 1, axis=1)[:, :k]
            latents = np.zeros_like(pre)
            np.put_along_axis(latents, top, np.maximum(np.take_along_axis(pre, top, 1), 0), 1)
            return latents
        if architecture == "jumprelu":
            return pre * (pre > w["threshold"])
        return np.maximum(pre, 0)


set_model(ServedSae())
