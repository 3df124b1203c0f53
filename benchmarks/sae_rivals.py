"""The SAE trainers that `benchmarks.sae` compares, each as one function: take a batch, make one Adam step.

Every library trains its own TopK SAE with its own initialisation, loss and post-processing, without warm-up
of the learning rate; auxiliary losses keep the library's default, which none of them reaches in so few
steps. Libraries that are not installed are left out. Ours is `moodlens.sae`, stepped as its trainer does.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """Shape and learning rate of every SAE."""

    d_in: int
    d_sae: int
    k: int
    device: str = "cpu"
    rate: float = 1e-3  # learning rate of Adam


@dataclass(frozen=True)
class Rival:
    """One trainer."""

    step: Callable[[Tensor], None]  # (row, d_in) -> one optimizer step
    recon: Callable[[Tensor], Tensor]  # (row, d_in) -> (row, d_in)


def ours(shape: Shape) -> Rival:
    """Return moodlens' sparse path."""
    from moodlens.sae.adam import Adam
    from moodlens.sae.catalog import config_for, new_sae
    from moodlens.sae.initialization import initialize
    from moodlens.sae.topk import TopKSae

    sae = new_sae(config_for("topk", {"d_in": shape.d_in, "d_sae": shape.d_sae, "k": shape.k}), seed=0)
    sae.to(shape.device)
    assert isinstance(sae, TopKSae)
    optimizer = Adam(sae.parameters())
    none = torch.empty(0, dtype=torch.int64, device=shape.device)
    begun = False

    def step(x: Tensor) -> None:
        nonlocal begun
        if not begun:  # as the trainer does before the first step, on a sample of its rows
            initialize(sae, x, seed=0)
            begun = True
        losses = sae.losses(x, none, 1.0)
        optimizer.zero_grad()
        losses.total.backward()
        sae.project_gradient()
        optimizer.step(shape.rate)
        sae.project()

    return Rival(step, sae)


def saelens(shape: Shape) -> Rival:
    """Return SAELens' TopKTrainingSAE, stepped as its `SAETrainer` does."""
    from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig  # pyright: ignore[reportMissingImports]
    from sae_lens.saes.sae import TrainStepInput  # pyright: ignore[reportMissingImports]

    config = TopKTrainingSAEConfig(d_in=shape.d_in, d_sae=shape.d_sae, k=shape.k, device=shape.device)
    sae = TopKTrainingSAE(config)
    optimizer = torch.optim.Adam(sae.parameters(), lr=shape.rate)
    coefficients = dict.fromkeys(sae.get_coefficients(), 1.0)
    steps = iter(range(10**9))

    def step(x: Tensor) -> None:
        given = TrainStepInput(x, coefficients, None, next(steps), False)
        optimizer.zero_grad()
        sae.training_forward_pass(given).loss.backward()
        torch.nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimizer.step()

    return Rival(step, sae)


def dictionary_learning(shape: Shape) -> Rival:
    """Return dictionary_learning's TopKTrainer; its own `update` is the step."""
    from dictionary_learning.trainers.top_k import TopKTrainer  # pyright: ignore[reportMissingImports]

    trainer = TopKTrainer(
        steps=10**6, activation_dim=shape.d_in, dict_size=shape.d_sae, k=shape.k, layer=0, lm_name="",
        lr=shape.rate, warmup_steps=1, device=shape.device, seed=0,
    )  # fmt: skip
    counter = iter(range(10**9))
    return Rival(lambda x: (trainer.update(next(counter), x), None)[1], trainer.ae)


def sparsify(shape: Shape) -> Rival:
    """Return sparsify's SparseCoder with Adam, stepped as its `Trainer` does with unit decoder rows."""
    if (
        not torch.cuda.is_available()
    ):  # its Triton decoder needs a GPU and is taken wherever Triton is installed
        os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
    from sparsify import SparseCoder, SparseCoderConfig  # pyright: ignore[reportMissingImports]

    config = SparseCoderConfig(num_latents=shape.d_sae, k=shape.k)
    sae = SparseCoder(shape.d_in, config, device=shape.device)
    optimizer = torch.optim.Adam(sae.parameters(), lr=shape.rate)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        sae(x).fvu.backward()
        if config.normalize_decoder:
            sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        if config.normalize_decoder:
            sae.set_decoder_norm_to_unit_norm()

    return Rival(step, lambda x: sae(x).sae_out)


def overcomplete(shape: Shape) -> Rival:
    """Return Overcomplete's TopKSAE with a mean-squared loss, as its `train_sae` does."""
    # the package imports image models and their torchvision; its SAEs need neither
    if "overcomplete" not in sys.modules:
        spec = find_spec("overcomplete")
        if spec is None:
            raise ImportError("No module named 'overcomplete'")
        package = sys.modules["overcomplete"] = ModuleType("overcomplete")
        package.__path__ = list(spec.submodule_search_locations or [])
    from overcomplete.sae import TopKSAE  # pyright: ignore[reportMissingImports]

    sae = TopKSAE(shape.d_in, shape.d_sae, top_k=shape.k, device=shape.device)
    sae.train()
    optimizer = torch.optim.Adam(sae.parameters(), lr=shape.rate)

    def step(x: Tensor) -> None:
        optimizer.zero_grad()
        (x - sae(x)[2]).square().mean().backward()
        optimizer.step()

    return Rival(step, lambda x: sae(x)[2])


RIVALS: dict[str, Callable[[Shape], Rival]] = {
    "moodlens": ours,
    "SAELens": saelens,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
    "Overcomplete": overcomplete,
}
