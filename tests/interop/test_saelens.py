"""The real SAELens reads our SAEs with the same activations, and we read what it trained. `make interop`."""

from pathlib import Path

import pytest
import torch

sae_lens = pytest.importorskip("sae_lens", reason="run `make interop`: SAELens has an environment of its own")

from moodlens.sae.catalog import ARCHITECTURES  # noqa: E402
from moodlens.sae.metrics import fvu  # noqa: E402
from moodlens.store.sae_files import load_sae, save_sae  # noqa: E402
from tests.sae.planted import planted, random_rows, random_sae  # noqa: E402

THEIRS = {
    "standard": (sae_lens.StandardTrainingSAE, sae_lens.StandardTrainingSAEConfig, {}),
    "topk": (sae_lens.TopKTrainingSAE, sae_lens.TopKTrainingSAEConfig, {"k": 8}),
    "gated": (sae_lens.GatedTrainingSAE, sae_lens.GatedTrainingSAEConfig, {}),
    "jumprelu": (sae_lens.JumpReLUTrainingSAE, sae_lens.JumpReLUTrainingSAEConfig, {}),
    "batchtopk": (sae_lens.BatchTopKTrainingSAE, sae_lens.BatchTopKTrainingSAEConfig, {"k": 8}),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saelens_reads_ours(architecture: str, tmp_path: Path):
    ours, x = random_sae(architecture).eval(), random_rows()
    save_sae(tmp_path / "sae", ours, {"hookpoint": "residual.3"}, (torch.arange(20), 100))
    theirs = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    with torch.no_grad():
        latents = ours.encode(x)
        torch.testing.assert_close(theirs.encode(x), latents, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(theirs.decode(theirs.encode(x)), ours(x), atol=1e-5, rtol=1e-5)
    assert (latents > 0).any()
    assert theirs.cfg.metadata["moodlens"]["hookpoint"] == "residual.3"


@pytest.mark.parametrize("form", THEIRS)
def test_we_read_what_saelens_trained(form: str, tmp_path: Path):
    kind, config, settings = THEIRS[form]
    torch.manual_seed(0)
    theirs = kind(config(d_in=64, d_sae=128, dtype="float32", device="cpu", **settings))
    rows = torch.from_numpy(planted(2000).rows)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=3e-3)
    from sae_lens.saes.sae import TrainStepInput

    for step in range(40):
        batch = rows[50 * (step % 40) : 50 * (step % 40) + 50]
        given = TrainStepInput(
            sae_in=batch,
            coefficients=dict.fromkeys(theirs.get_coefficients(), 1e-3),
            dead_neuron_mask=None,
            n_training_steps=step,
            is_logging_step=False,
        )
        optimizer.zero_grad()
        theirs.training_forward_pass(given).loss.backward()
        optimizer.step()
    theirs.save_inference_model(tmp_path / "sae")
    used = sae_lens.SAE.load_from_disk(tmp_path / "sae")
    ours = load_sae(tmp_path / "sae")
    with torch.no_grad():
        latents = used.encode(rows)
        torch.testing.assert_close(ours.encode(rows), latents, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours(rows), used.decode(latents), atol=1e-4, rtol=1e-4)
        assert (latents > 0).any()
        assert fvu(rows, ours(rows)) == pytest.approx(fvu(rows, used.decode(latents)), rel=1e-3)
