"""Train the codec: `EncodecModel` from random weights to residual codes of synthesised music.

First `plant_step` steps without quantiser, then k-means codebooks on the latents of that moment, then
codes with the gradient straight through. Loss: magnitude spectra at four resolutions (relative error and
log distance), a small waveform term that fades, and the commitment of the encoder to its codes.

Source: SoundStream and EnCodec, without their discriminators.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import EncodecModel

from moodlens.base.seeding import rng_for, seed_for
from moodlens.organism.architecture import HOP_SAMPLES
from moodlens.organism.parts import decode, encode
from moodlens.organism.quantiser import DEAD_BELOW, codebooks_of, plant, quantise, revive

WINDOWS = (2048, 1024, 512, 128)
"""Samples per STFT window: pitch at one end, onsets at the other."""

LOG_FLOOR = 3e-3
REVIVE_EVERY_STEPS = 40
N_PLANT_CROPS = 480


@dataclass(frozen=True)
class CodecRecipe:
    """What decides the codec beside its architecture and the schedule."""

    seed: int  # of the weights, the crops and the k-means starts
    batch_crops: int  # crops per step
    crop_s: float  # length of a crop
    plant_step: int  # first step with codes
    commitment: float  # weight of the commitment loss
    waveform: float  # weight of the waveform term at step 0; fades to 0.05
    n_steps: int  # of the schedule: where the fade ends


class CodecTask:
    """The codec's side of `loop.train`: crops of a pool of clips, chosen by (seed, step)."""

    def __init__(
        self,
        model: EncodecModel,
        recipe: CodecRecipe,
        pool: Float[np.ndarray, "clip sample"],
        held_out: Float[np.ndarray, "clip sample"],
    ) -> None:
        self.model = model.train()
        self.recipe = recipe
        self.pool = pool
        self.held_out = torch.from_numpy(held_out)

    def loss(self, step: int) -> Tensor:
        """Return the loss of step `step`; on the way the codebooks move, and at times are planted."""
        recipe = self.recipe
        crops = self.crops(step, recipe.batch_crops)
        latents = self._encode(crops)
        commitment = latents.new_zeros(())
        if step == recipe.plant_step:
            self._plant(step)
        if step >= recipe.plant_step:
            if step % REVIVE_EVERY_STEPS == 0:
                revive(self.model, latents.detach(), seed_for("revive", recipe.seed, step))
            latents, commitment = quantise(self.model, latents)
        with torch.autocast("cpu", torch.bfloat16):
            decoded = self.model.decoder(latents)
        decoded = decoded.float()[:, 0]
        weight = recipe.waveform * (1 - step / recipe.n_steps) + 0.05
        level = crops.pow(2).mean(1, keepdim=True).sqrt() + 0.01
        waveform = ((decoded - crops) / level).abs().mean()
        relative, logarithmic = spectral_distance(decoded, crops)
        return relative + logarithmic + weight * waveform + recipe.commitment * commitment

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the spectral distances on held-out clips through the real codes, and the dead codes."""
        self.model.eval()
        decoded = decode(self.model, encode(self.model, self.held_out))
        self.model.train()
        relative, logarithmic = spectral_distance(decoded, self.held_out)
        n_dead = sum(int((book.cluster_size < DEAD_BELOW).sum()) for book in codebooks_of(self.model))
        return {"val_convergence": float(relative), "val_log": float(logarithmic), "dead_codes": n_dead}

    def crops(self, step: int, n_crops: int) -> Float[Tensor, "clip sample"]:
        """Return the crops of a step: clip and start (on a frame border) drawn by (seed, step)."""
        length = round(self.recipe.crop_s * self.model.config.sampling_rate)
        rng = rng_for("codec crops", self.recipe.seed, step)
        clips = rng.integers(len(self.pool), size=n_crops)
        n_starts = (self.pool.shape[1] - length) // HOP_SAMPLES + 1
        starts = rng.integers(n_starts, size=n_crops) * HOP_SAMPLES
        cut = [self.pool[clip, start : start + length] for clip, start in zip(clips, starts, strict=True)]
        return torch.from_numpy(np.stack(cut).astype(np.float32))

    def _encode(self, crops: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            latents = self.model.encoder(crops[:, None])
        return latents.float()

    @torch.no_grad()
    def _plant(self, step: int) -> None:
        batches = self.crops(-1, N_PLANT_CROPS).split(self.recipe.batch_crops)
        latents = torch.cat([self._encode(batch) for batch in batches])
        points = latents.permute(0, 2, 1).reshape(-1, latents.shape[1])
        n_per_batch = self.recipe.batch_crops * latents.shape[-1]
        plant(self.model, points, n_per_batch, seed_for("plant", self.recipe.seed, step))


def spectral_distance(
    decoded: Float[Tensor, "clip sample"], target: Float[Tensor, "clip sample"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Return (spectral convergence, mean |log magnitude difference|), each a mean over WINDOWS.

    Spectral convergence is |S - S'| / |S| per clip over the magnitude spectrogram, 0.05 added below so
    that silence does not weigh infinitely.

    Source: Arik 2018 (spectral convergence); Yamamoto 2020 (multi-resolution STFT loss).
    """
    relative, logarithmic = target.new_zeros(()), target.new_zeros(())
    for window in WINDOWS:
        ours, theirs = _magnitudes(decoded, window), _magnitudes(target, window)
        error = (theirs - ours).pow(2).sum((1, 2)).sqrt()
        relative = relative + (error / (theirs.pow(2).sum((1, 2)).sqrt() + 0.05)).mean()
        logarithmic = logarithmic + ((ours + LOG_FLOOR).log() - (theirs + LOG_FLOOR).log()).abs().mean()
    return relative / len(WINDOWS), logarithmic / len(WINDOWS)


def _magnitudes(waveforms: Tensor, window: int) -> Tensor:
    shape = torch.hann_window(window)
    spectrum = torch.stft(waveforms, window, window // 4, window=shape, normalized=True, return_complex=True)
    return spectrum.abs()
