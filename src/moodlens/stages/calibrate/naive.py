"""What a naive pipeline says of the same clips, in a finished workspace.

It takes one decoder layer as captured during generation, a t-test over all pairs of clips on raw cosine, and
a plain five-fold probe over clips; both at p < .05 and it says "encoded in the layers".
"""

from pathlib import Path

from scipy import stats as scipy_stats

from moodlens.base.seeding import rng_for
from moodlens.calibration.naive import plain_accuracy_of
from moodlens.contracts.params import Params
from moodlens.stages import sites
from moodlens.stages.workspace import clip_table, open_workspace, tensors_of
from moodlens.stats.gram import cosines, site_gram
from moodlens.stats.similarity import naive_t
from moodlens.store.tables import write_metrics

ALPHA = 0.05


def run(params: Params, root: Path) -> None:
    """Write metrics/naive.json."""
    work = open_workspace(root)
    names = [gram.site for gram in sites.layers(work, twin=False)]
    layer = names[len(names) // 2]
    clips = clip_table(work)
    rows = tensors_of(work, clips, "activations", "summary", [f"{layer}/mean"])[f"{layer}/mean"]
    prompts = clips["prompt"].to_numpy()
    labels = work.design.labels
    paired = naive_t(cosines(site_gram(layer, rows, prompts).values), prompts, labels)
    accuracy = plain_accuracy_of(rows, labels[prompts], rng_for("naive", params.signal.seed))
    n, chance = len(prompts), 1 / work.design.n_classes
    p_probe = float(scipy_stats.binom.sf(round(accuracy * n) - 1, n, chance))
    says = paired.t > 0 and paired.p < ALPHA and p_probe < ALPHA
    write_metrics(
        {
            "layer": layer,
            "t": paired.t,
            "p_t": paired.p,
            "accuracy": accuracy,
            "p_probe": p_probe,
            "says": "encoded in the layers" if says else "not encoded",
        },
        root / "metrics" / "naive.json",
    )
