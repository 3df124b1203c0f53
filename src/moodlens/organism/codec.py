"""Training of the codec: `EncodecModel` with the training path of its quantiser, which transformers omits.

The first `plant_step` steps train without the quantiser. Then k-means on the current latents initialises the
codebooks. From there on the latents are quantised, and the gradient passes straight through to the encoder.
Codebooks follow exponential averages of the vectors assigned to them. They stay in the buffers of the model
(`embed`, `embed_avg`, `cluster_size`), so that its own `encode` and `decode` work at any time and the state
dict holds the whole state.

The loss sums three terms: the distance of magnitude spectra at four resolutions (relative error and log
distance), a small waveform term that fades, and the commitment of the encoder to its codes.

Source: van den Oord 2017 (VQ-VAE, appendix A.1); Zeghidour 2021 (SoundStream: k-means initialisation, dead
codes); audiocraft `core_vq.py`. SoundStream and EnCodec have discriminators in addition.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional
from transformers import EncodecModel
from transformers.models.encodec.modeling_encodec import EncodecEuclideanCodebook

from moodlens.base.seeding import rng_for, seed_for
from moodlens.organism.architecture import HOP_SAMPLES, decode, encode

DECAY = 0.99
"""Weight of the old codebook at each step: a memory of about 100 batches."""

DEAD_BELOW = 0.03
"""A code is dead, and set anew, if fewer vectors per batch (running mean) are assigned to it."""

KMEANS_ROUNDS = 12


def codebooks_of(codec: EncodecModel) -> list[EncodecEuclideanCodebook]:
    """Return the codebooks of a codec, coarsest first."""
    return [layer.codebook for layer in codec.quantizer.layers]  # pyright: ignore[reportReturnType]


def nearest_code(points: Float[Tensor, "point d"], embed: Float[Tensor, "code d"]) -> Int[Tensor, " point"]:
    """Return the index of the nearest code of every point (Euclidean).

    >>> nearest_code(torch.tensor([[0.9], [-3.0]]), torch.tensor([[1.0], [-1.0]])).tolist()
    [0, 1]
    """
    return torch.addmm(embed.pow(2).sum(1), points, embed.T, alpha=-2).argmin(1)


def kmeans(
    points: Float[Tensor, "point d"], n_codes: int, generator: torch.Generator
) -> tuple[Float[Tensor, "code d"], Int[Tensor, " point"]]:
    """Return `n_codes` centres after KMEANS_ROUNDS of Lloyd's algorithm, and the centre of every point.

    A centre without points is moved to a point drawn at random.
    """
    start = torch.randperm(len(points), generator=generator)[:n_codes]
    centres = points[start].clone()
    for _ in range(KMEANS_ROUNDS):
        counts, sums = _assigned(points, nearest_code(points, centres), n_codes)
        spare = points[torch.randint(len(points), (n_codes,), generator=generator)]
        centres = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), spare)
    return centres, nearest_code(points, centres)


@torch.no_grad()
def plant(codec: EncodecModel, latents: Float[Tensor, "point d"], n_per_batch: int, seed: int) -> list[float]:
    """Set every codebook by k-means on the residual of the codebooks before it.

    Args:
        latents: encoder outputs, one row per frame, unquantised.
        n_per_batch: frames of one training batch; scales the running counts.
        seed: of the k-means initialisations.

    Returns:
        Per codebook, the residual's share of the latents' sum of squares after it.
    """
    generator = torch.Generator().manual_seed(seed)
    total = latents.pow(2).sum()
    residual, shares = latents, []
    for codebook in codebooks_of(codec):
        centres, nearest = kmeans(residual, codebook.codebook_size, generator)
        counts = torch.bincount(nearest, minlength=codebook.codebook_size).float()
        codebook.embed.copy_(centres)
        codebook.cluster_size.copy_(counts / len(residual) * n_per_batch)
        codebook.embed_avg.copy_(centres * codebook.cluster_size[:, None])
        residual = residual - centres[nearest]
        shares.append(float(residual.pow(2).sum() / total))
    return shares


def quantise(
    codec: EncodecModel, latents: Float[Tensor, "clip d frame"]
) -> tuple[Float[Tensor, "clip d frame"], Float[Tensor, ""]]:
    """Return the quantised latents (gradient straight through) and the commitment loss; update the codebooks.

    The commitment loss is the mean over codebooks of |latent - sum of codes so far|^2, as a share of the
    latents' mean square. It pulls the encoder towards the codes. No gradient reaches the codes.
    """
    n_clips, d, n_frames = latents.shape
    points = latents.float().permute(0, 2, 1).reshape(-1, d)
    quantised = torch.zeros_like(points)
    commitment = points.new_zeros(())
    books = codebooks_of(codec)
    for codebook in books:
        residual = points.detach() - quantised
        nearest = nearest_code(residual, codebook.embed)
        quantised = quantised + functional.embedding(nearest, codebook.embed)
        commitment = commitment + (points - quantised).pow(2).mean()
        _update(codebook, residual, nearest)
    share = commitment / len(books) / (points.detach().pow(2).mean() + 1e-6)
    through = points + (quantised - points).detach()
    return through.view(n_clips, n_frames, d).permute(0, 2, 1), share


@torch.no_grad()
def revive(codec: EncodecModel, latents: Float[Tensor, "clip d frame"], seed: int) -> int:
    """Set every dead code to a residual drawn at random from this batch; return how many there were."""
    generator = torch.Generator().manual_seed(seed)
    residual = latents.float().permute(0, 2, 1).reshape(-1, latents.shape[1])
    n_dead = 0
    for codebook in codebooks_of(codec):
        dead = codebook.cluster_size < DEAD_BELOW
        count = int(dead.sum())
        if count:
            drawn = residual[torch.randint(len(residual), (count,), generator=generator)]
            weight = 5 * DEAD_BELOW  # the code survives about 150 batches without an assigned vector
            codebook.embed[dead] = drawn
            codebook.cluster_size[dead] = weight
            codebook.embed_avg[dead] = drawn * weight
        n_dead += count
        residual = residual - functional.embedding(nearest_code(residual, codebook.embed), codebook.embed)
    return n_dead


@torch.no_grad()
def _update(codebook: EncodecEuclideanCodebook, points: Tensor, nearest: Tensor) -> None:
    """Average the assigned vectors into the codebook, with Laplace smoothing of the counts."""
    counts, sums = _assigned(points, nearest, codebook.codebook_size)
    codebook.cluster_size.lerp_(counts, 1 - DECAY)
    codebook.embed_avg.lerp_(sums, 1 - DECAY)
    total = codebook.cluster_size.sum()
    smooth = (codebook.cluster_size + 1e-5) / (total + codebook.codebook_size * 1e-5) * total
    codebook.embed.copy_(codebook.embed_avg / smooth[:, None])


def _assigned(points: Tensor, nearest: Tensor, n_codes: int) -> tuple[Tensor, Tensor]:
    """Return how many points are assigned to each code, and their sum."""
    counts = torch.bincount(nearest, minlength=n_codes).to(points.dtype)
    sums = points.new_zeros(n_codes, points.shape[1]).index_add_(0, nearest, points)
    return counts, sums


WINDOWS = (2048, 1024, 512, 128)
"""Samples per STFT window: pitch at one end, onsets at the other."""

LOG_FLOOR = 3e-3
REVIVE_EVERY_STEPS = 40
N_PLANT_CROPS = 480


@dataclass(frozen=True)
class CodecRecipe:
    """The settings of the codec's training beside architecture and schedule."""

    seed: int  # of the weights, the crops and the k-means initialisations
    batch_crops: int  # crops per step
    crop_s: float  # length of a crop
    plant_step: int  # step at which k-means sets the codebooks; from there on latents are quantised
    commitment: float  # weight of the commitment loss
    waveform: float  # weight of the waveform term at step 0; fades to 0.05
    n_steps: int  # of the schedule: where the fade ends


class CodecTask:
    """The codec as a `training_loop.Task`: crops of a pool of clips, drawn by (seed, step)."""

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
        """Return the loss of step `step`; update the codebooks, and at some steps set codes anew."""
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
        """Return the spectral distances of held-out clips after encoding and decoding, and the dead codes."""
        self.model.eval()
        decoded = decode(self.model, encode(self.model, self.held_out))
        self.model.train()
        relative, logarithmic = spectral_distance(decoded, self.held_out)
        n_dead = sum(int((book.cluster_size < DEAD_BELOW).sum()) for book in codebooks_of(self.model))
        return {"val_convergence": float(relative), "val_log": float(logarithmic), "dead_codes": n_dead}

    def crops(self, step: int, n_crops: int) -> Float[Tensor, "clip sample"]:
        """Return the crops of a step; clip and start (on a frame boundary) are drawn by (seed, step)."""
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

    Spectral convergence is |S - S'| / (|S| + 0.05) per clip, over the magnitude spectrogram. The constant
    bounds the weight of silence.

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
