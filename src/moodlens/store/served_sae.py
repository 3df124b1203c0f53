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
        """Return the latents (row, d_sae), float32, of rows (row, d_in)."""
        x = np.asarray(model_input, dtype=np.float32)
        d_in = self.config["d_in"]
        if x.ndim != 2 or x.shape[1] != d_in:
            raise ValueError(
                f"activations must have shape (row, {d_in}); got {x.shape}. "
                "Use the SAE of this hookpoint and model."
            )
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
