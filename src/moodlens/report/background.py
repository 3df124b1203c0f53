"""The design, the checks and the provenance of a run, and the glossary of the page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from moodlens.base.units import beyond_training
from moodlens.params.pipeline import Params
from moodlens.report.formatting import count, number, p_value, share
from moodlens.report.records import Check, Fact, Provenance
from moodlens.stats.design import Design


def subject_line(params: Params, clips: pd.DataFrame | None) -> str:
    """Return the model and the size of the run in one line."""
    if clips is None:
        return params.model.id
    seconds = number(float(np.median(clips["duration_s"])), 2, "s")
    n_prompts = count(len(set(clips["prompt_id"])), "prompt")
    return f"{params.model.id} · {n_prompts} · {count(len(clips), 'clip')} of {seconds}"


def design_facts(
    params: Params,
    design: Design | None,
    clips: pd.DataFrame | None,
    generated: Mapping[str, Any] | None,
) -> tuple[Fact, ...]:
    """Return the sample sizes, the number of relabellings and what they can show.

    Args:
        params: of the run.
        design: of the prompts that intend an emotion.
        clips: rows of `contracts.tables.CLIPS`.
        generated: metrics/generate.json.
    """
    facts = [] if design is None else _prompt_facts(params, design)
    if clips is not None:
        n_seeds = count(len(set(clips["seed"])), "seed")
        facts.append(Fact("clips", str(len(clips)), f"{n_seeds} per prompt"))
    if generated is not None:
        note = "decoder steps recorded, none skipped"
        facts.append(Fact("steps of a clip", str(generated["n_steps"]), note))
        clip_s = generated.get("clip_s", 0.0)
        if longer := beyond_training(clip_s, generated.get("trained_s")):
            facts.append(Fact("length of a clip", f"{clip_s:g} s", longer))
    draws = f"from {params.signal.n_bootstrap} bootstrap resamples of wordings"
    facts.append(Fact("intervals", share(params.signal.confidence), draws))
    delta = share(params.signal.equivalence_delta, 1)
    note = "of variance: the verdict is “none” only where an effect this large would have been detected"
    facts.append(Fact("equivalence bound", delta, note))
    return tuple(facts)


def _prompt_facts(params: Params, design: Design) -> list[Fact]:
    low, high = np.bincount(design.labels).min(), np.bincount(design.labels).max()
    per_emotion = f"{low}" if low == high else f"{low} to {high}"
    n = min(params.signal.n_permutations, params.probe.n_permutations)
    per = f"{per_emotion} for each of {count(design.n_classes, 'emotion')}"
    words = "emotion words, scenes or terms that share no content word: the unit of evidence"
    least = design.smallest_p("wording", n)
    return [
        Fact("prompts", str(design.n_prompts), per),
        Fact("wordings", str(int(design.wordings.max()) + 1), words),
        Fact("relabellings", str(n), "or more, of whole wordings within their blocks, per test"),
        Fact("smallest attainable p", p_value(least), "of this design with these relabellings of wordings"),
    ]


def checks_of(checked: Mapping[str, Any], pages: Sequence[str]) -> tuple[Check, ...]:
    """Return the outcome of every suite.

    Args:
        checked: metrics/check.json.
        pages: names of the suites whose page was written to reports/checks.
    """
    return tuple(
        Check(
            name,
            bool(suite["success"]),
            suite["n_expectations"],
            suite["n_failed"],
            suite.get("n_rows"),
            f"checks/{name}.html" if name in pages else "",
        )
        for name, suite in checked["suites"].items()
    )


def provenance_of(
    params: Params,
    generated: Mapping[str, Any] | None,
    datasets: Mapping[str, str],
) -> Provenance:
    """Return model, datasets and parameters as rows.

    Args:
        params: of the run; the section `compute` is left out, because no result depends on it.
        generated: metrics/generate.json.
        datasets: path -> md5, from dvc.lock.
    """
    model = [Fact("id", params.model.id)]
    if params.model.revision:
        model.append(Fact("revision", params.model.revision))
    if generated is not None:
        model.append(Fact("weights, sha256", str(generated["weights_sha256"])))
        layers = ", ".join(str(layer) for layer in generated["layers"])
        model.append(Fact("recorded layers", layers, f"of width {generated['d_model']}"))
    model.append(Fact("forward pass", f"{params.model.dtype} on {params.model.device}"))
    sections = {name: values for name, values in asdict(params).items() if name != "compute"}
    return Provenance(
        model=tuple(model),
        datasets=tuple(Fact(path, md5) for path, md5 in sorted(datasets.items())),
        params=tuple(Fact(key, value) for key, value in _flat(sections)),
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield f"{prefix}{key}", ", ".join(str(item) for item in value)
        else:
            yield f"{prefix}{key}", str(value) if value != "" else '""'


GLOSSARY = (
    Fact(
        "Rung",
        "A claim with a test and baselines of its own: text code, music, source, use. A rung is reached if "
        "its verdict is strong or weak. The source is answered, not climbed: each source has a verdict.",
    ),
    Fact(
        "Check of the design",
        "A property of the prompts, not of the model. The check of the words licenses nothing: wordings "
        "dealt to labels at random pass it too.",
    ),
    Fact(
        "Finding",
        "A measurement beside the ladder. It is described, reaches no rung and is no part of the verdict.",
    ),
    Fact(
        "Null text",
        "The conditioning replaced by zeros. A state under null text is a function of the tokens it is fed: "
        "it holds nothing that they do not hold. Neutral text is another thing: the prompt without its "
        "wording.",
    ),
    Fact(
        "Fork",
        "A clip played up to a step and generated anew from there with the same noise. Its prefix (the "
        "tokens up to the step), the prefix’s cached states and the text ahead are exchanged one at a time.",
    ),
    Fact(
        "Cached states",
        "The keys and values of self-attention that a layer keeps of earlier steps. They can be computed for "
        "the same tokens under another text.",
    ),
    Fact(
        "Music so far, memory, re-reading",
        "The sources of the emotion behind a fork. Memory is what cached states carry on of a text that is "
        "no longer there, at equal tokens; re-reading is what the text carries because it is read again.",
    ),
    Fact(
        "Share",
        "How far exchanging one source moves the judge, divided by how far the whole prompt does. Shares of "
        "several sources need not add up to 100 %.",
    ),
    Fact(
        "Donor",
        "The same exchange between two wordings of one emotion. It should move nothing; p is computed on the "
        "contrast of two emotions minus it.",
    ),
    Fact(
        "Judge",
        "A classifier of emotion from the sound of a clip’s last seconds, which gives log-odds. That of the "
        "embedded models was fitted on their synthesiser and has seen neither prompts nor generated clips. "
        "That of any other model was fitted on the model’s own clips without the wordings that it judges, "
        "which is weaker.",
    ),
    Fact(
        "Turn",
        "In the music of the embedded models, the moment at which the emotion sets in. The opening before it "
        "is the same for every emotion.",
    ),
    Fact(
        "Prompt, clip, seed",
        "A prompt is one text; a clip is one waveform generated from it with one seed. "
        "The unit of evidence is the wording; n counts prompts unless it says wordings or clips.",
    ),
    Fact(
        "Effect",
        "Mean cosine similarity of prompts of the same emotion minus that of prompts of different "
        "emotions, after centring each site. 0 is no effect; the effect has no unit.",
    ),
    Fact(
        "Share of the ceiling",
        "The effect divided by the one of the same prompt with another seed: the part of the attainable "
        "similarity that emotion explains.",
    ),
    Fact(
        "p",
        "Share of random relabellings of whole prompts that give at least the observed value. The smallest "
        "possible p is 1 / (relabellings + 1), or one over the number of distinct relabellings where the "
        "design is small.",
    ),
    Fact(
        "p, maxT",
        "The same, against the best site of each relabelling (Westfall and Young). It stays valid however "
        "many sites are tested, and decides whether there is an effect.",
    ),
    Fact(
        "q, BH",
        "False discovery rate after Benjamini and Hochberg: among the sites at or below this value, the "
        "expected share of false ones. It helps to locate an effect.",
    ),
    Fact(
        "Textbook t-test",
        "A t-test on pairwise similarities. Descriptive, not valid: pairs share prompts, so almost any data "
        "are significant by it (false-positive rate above 0.99 at a nominal level of 0.05).",
    ),
    Fact("Interval", "95 % bootstrap over wordings, unless another level or unit is stated."),
    Fact(
        "Accuracy",
        "Share of held-out prompts whose emotion a linear probe predicts. Folds by prompt hold whole prompts "
        "out; folds by wording hold out every prompt that uses the same emotion word, scene or term.",
    ),
    Fact(
        "Bag of words",
        "A probe that sees only which words the prompt contains. A layer must beat it to hold more than the "
        "words.",
    ),
    Fact(
        "Untrained twin",
        "The same architecture with random weights, fed the same text and tokens. A layer must beat it for "
        "its result to be due to training. This does not show that the layer holds more than an untrained "
        "memory of the past would.",
    ),
    Fact(
        "Equivalence",
        "The verdict is “none” only if an effect of the stated size, planted into these data, would have "
        "been detected. Otherwise it is undecided, with what is expected to settle it. Of a source, “none” "
        "says that its share lies within the margin at every fork (two one-sided tests).",
    ),
)
