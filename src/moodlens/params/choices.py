"""Names that parameters choose from, and the types of a parameter that holds one of them."""

from typing import Annotated

from moodlens.base.axes import EMOTIONS
from moodlens.contracts.tables import PROMPT_SETS
from moodlens.contracts.tensors import WHOLE_SITES
from moodlens.params.quantities import Distinct, Matching, OneOf

SITES = ("bow", "text", "layers", "acoustics", "tokens", "codec")
METRICS = (
    "permanova",
    "cosine_raw",
    "cosine_centred",
    "euclidean",
    "cka",
    "cca",
    "mmd_linear",
    "mmd_rbf",
    "energy",
    "wasserstein",
    "dimensions",
    "permdisp",
)
"""Metrics of the sweep, the keys of `stats.metrics.METRICS`."""
NO_CAPTIONS = "data/captions.csv"
"""A table without captions: what stage `prompts` depends on where no table is used."""
LAYER_SITES = ("residual", "self_attention", "cross_attention", "mlp")
CAPTURE_SITES = (*LAYER_SITES, *WHOLE_SITES)

Emotion = Annotated[str, OneOf(EMOTIONS)]
EmotionPair = Annotated[tuple[Emotion, Emotion], Distinct()]
PromptSet = Annotated[str, OneOf(PROMPT_SETS)]
ExchangeSite = Annotated[str, OneOf(LAYER_SITES)]
CaptureSite = Annotated[str, OneOf(CAPTURE_SITES)]
AnalysisSite = Annotated[str, OneOf(SITES)]
Metric = Annotated[str, OneOf(METRICS)]
SaeSite = Annotated[
    str,
    Matching(
        rf"text|text_pooled|(?:{'|'.join(CAPTURE_SITES)})\.\d{{1,4}}(?:/(?:cond|uncond))?",
        f"be text, text_pooled or <site>.<layer> with a site of {', '.join(CAPTURE_SITES)}",
        "residual.3",
    ),
]
