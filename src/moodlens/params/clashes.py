"""Clashes between parameters: what two values break together, refused before any work, under their own names.

Only parameters are read here. What also depends on the prompts or on the model stands in `workspace.reach`.
"""

from collections.abc import Iterator
from math import floor
from typing import TYPE_CHECKING

from moodlens.base.errors import UsageError, must
from moodlens.contracts.tensors import WHOLE_SITES

if TYPE_CHECKING:
    from moodlens.params.pipeline import Params

MOST_CLIPS = 1_000_000
"""Prompts x seeds of one run. A larger plan cannot even be listed."""
TEXT_SITES = ("text", "text_pooled")
TOP_K = ("topk", "batchtopk", "matryoshka")
"""SAE architectures whose loss can hold AuxK."""
MUSIC_SITES = ("acoustics", "tokens", "codec")


def refuse_clashes(params: "Params", file: str) -> None:
    """Raise the first clash.

    Raises:
        UsageError: two values exclude each other; the message names both.
    """
    for thing, rule, got, next_step in _clashes(params):
        raise UsageError(must(thing, rule, got, where=file, next_step=next_step))


Clash = tuple[str, str, object, str]
"""Key, what it must, its value, and the next step."""


def _clashes(params: "Params") -> Iterator[Clash]:
    yield from _sizes(params)
    yield from _thresholds(params)
    yield from _times(params)
    yield from _sites(params)


def _sizes(params: "Params") -> Iterator[Clash]:
    prompts, generate, sae = params.prompts, params.generate, params.sae
    n_prompts = prompts.n_per_emotion * len(prompts.emotions)
    n_clips = n_prompts * generate.n_seeds
    if n_clips > MOST_CLIPS:
        rule = f"give at most {MOST_CLIPS} clips with prompts.n_per_emotion"
        yield "generate.n_seeds", rule, f"{n_clips} clips", "Lower one of them"
    per_emotion = prompts.n_per_emotion * generate.n_seeds
    if params.check.min_clips_per_emotion > per_emotion:
        rule = f"be at most {per_emotion}, prompts.n_per_emotion x generate.n_seeds"
        yield "check.min_clips_per_emotion", rule, params.check.min_clips_per_emotion, "Lower it"
    for name, n_folds in (
        ("probe", params.probe.n_folds),
        ("null_text", params.null_text.n_folds),
        ("relate", params.relate.n_folds),
    ):
        if n_folds > n_prompts:
            yield f"{name}.n_folds", f"not exceed the {n_prompts} prompts", n_folds, "Lower it or add prompts"
    if sae.revive == "auxk" and sae.architecture not in TOP_K:
        rule = f"be resample or none with sae.architecture {sae.architecture}, whose loss has no AuxK"
        yield "sae.revive", rule, sae.revive, f"Correct it, or take {', '.join(TOP_K)}"
    if sae.buffer_rows < 2 * sae.batch_rows:
        rule = f"hold two batches of sae.batch_rows = {sae.batch_rows}"
        yield "sae.buffer_rows", rule, sae.buffer_rows, "Raise it or lower sae.batch_rows"


def _thresholds(params: "Params") -> Iterator[Clash]:
    decide, forks, use = params.decide, params.forks, params.interchange
    for strong, weak, least, most in (
        ("decide.alpha_weak", "decide.alpha_strong", decide.alpha_weak, decide.alpha_strong),
        ("decide.accuracy_strong", "decide.accuracy_weak", decide.accuracy_strong, decide.accuracy_weak),
        ("decide.effect_strong", "decide.effect_weak", decide.effect_strong, decide.effect_weak),
        ("forks.share_strong", "forks.share_weak", forks.share_strong, forks.share_weak),
        ("interchange.share_strong", "interchange.share_weak", use.share_strong, use.share_weak),
        ("interchange.rank_weak", "interchange.rank_strong", use.rank_weak, use.rank_strong),
    ):
        if least < most:
            yield strong, f"be at least {weak} = {most:g}", least, "Correct one of them"
    alpha = decide.alpha_strong
    if alpha <= 0:
        yield "decide.alpha_strong", "be more than 0", alpha, "Raise it"
    if decide.alpha_weak >= 1:
        yield "decide.alpha_weak", "be below 1", decide.alpha_weak, "Lower it"
    for name, n_permutations in (
        ("signal", params.signal.n_permutations),
        ("probe", params.probe.n_permutations),
    ):
        if 1 / (n_permutations + 1) >= alpha:
            rule = f"be at least {floor(1 / alpha)}, so that p can fall below decide.alpha_strong = {alpha:g}"
            yield f"{name}.n_permutations", rule, n_permutations, "Raise it, or decide.alpha_strong"
    looks = list(decide.looks)
    if looks != sorted(set(looks)):
        yield "decide.looks", "increase", looks, "List the prompts per emotion of each look, smallest first"
    if looks and params.prompts.n_per_emotion not in looks:
        rule = f"be one of decide.looks, {', '.join(map(str, looks))}"
        yield (
            "prompts.n_per_emotion",
            rule,
            params.prompts.n_per_emotion,
            "Use a planned number, or empty looks",
        )


def _times(params: "Params") -> Iterator[Clash]:
    duration_s = params.generate.duration_s
    for start, stop in params.generate.windows:
        if start >= duration_s:
            rule, advice = f"begin inside the clip, before {duration_s:g} s", "Raise generate.duration_s"
            yield "generate.windows", rule, [start, stop], advice


def _sites(params: "Params") -> Iterator[Clash]:
    generate, again = params.generate, params.reencode
    if "bow" not in params.probe.sites:
        rule = "hold bow, the lexical baseline of every other site"
        yield "probe.sites", rule, list(params.probe.sites), "Add bow"
    if "layers" in params.probe.sites and "text" not in params.probe.sites:
        yield "probe.sites", "hold text beside layers", list(params.probe.sites), "Add text"
    for rung in (("bow",), ("text",), ("layers",), MUSIC_SITES):
        measured = set(params.signal.sites) & set(rung)
        if set(params.probe.sites) & set(rung) and not measured:
            rule = f"hold {' or '.join(rung)}, which probe.sites holds: a rung needs both tests"
            yield "signal.sites", rule, list(params.signal.sites), "Add it, or take it out of probe.sites"
    if not any(_recorded(params, site, layer) for site, layer in _hookpoints(again.sites, again.layers)):
        rule = "share a hookpoint with generate.sites and generate.layers"
        advice = "Add one that generate recorded: the self-test needs it"
        yield "reencode.sites", rule, list(again.sites), advice
    for site in params.sae.sites:
        if site in TEXT_SITES:
            continue
        if generate.pooled_only:
            advice = f"Set sae.sites to text sites ({', '.join(TEXT_SITES)}) or generate.pooled_only to false"
            yield "sae.sites", "hold text sites alone with generate.pooled_only", site, advice
        name, _, half = site.partition("/")
        kind, _, layer = name.rpartition(".")
        if not _recorded(params, kind, int(layer)) or generate.half not in ("both", half or "cond"):
            rule = "hold layers that generate.sites, generate.layers and generate.half record"
            yield "sae.sites", rule, site, "Correct it, or record the layer"


def _hookpoints(sites: tuple[str, ...], layers: tuple[int, ...] | str) -> list[tuple[str, int | None]]:
    """Return (site, layer) of each hookpoint; layer None stands for every layer."""
    numbers = [None] if isinstance(layers, str) else list(layers)
    return [(site, layer) for site in sites for layer in ([0] if site in WHOLE_SITES else numbers)]


def _recorded(params: "Params", site: str, layer: int | None) -> bool:
    """Return whether generation records a hookpoint, as far as the parameters say."""
    points = _hookpoints(params.generate.sites, params.generate.layers)
    return any(kind == site and (None in (layer, number) or layer == number) for kind, number in points)
