"""What a word's company tells of it: latent semantics of captions, fitted without any emotion label.

The baseline of the rung on the text encoder. An encoder that places a wording by its emotion may do so
because the wording keeps the company of other wordings of that emotion in captions. Latent semantic analysis
holds that company: words that stand in the same captions, or in captions with the same words, lie near each
other.

Corpus: every wording of every emotion in every template of its set, captions of musical factors, captions
without emotion, and the captions that the caller adds. Held-out wordings are in it, as they are in the
training text of an encoder; no label is. In the grammar's own captions two wordings of one emotion never
stand together, so there the company tells little. A caption table of people tells more.

Source: Deerwester et al. 1990, Indexing by latent semantic analysis.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for
from moodlens.prompts.grammar import EMOTION_SETS, caption, draw_nuisance, fill, templates_of, wordings
from moodlens.prompts.lexicon import WORD

WIDTHS = (16, 64, 256)
"""Dimensions of the analysis; its probe chooses among them inside the training folds."""
N_PLAIN = 600
"""Captions of musical factors in the corpus, and as many without emotion."""


def grammar_captions(seed: int) -> list[str]:
    """Return captions of the grammar without their labels: all wordings, templates, and plain captions."""
    rng = rng_for("company", seed)
    texts = [
        fill(template, wording, draw_nuisance(rng))
        for name in EMOTION_SETS
        for emotion in EMOTIONS
        for wording in wordings(name, emotion)
        for template in templates_of(name)
    ]
    for name in ("factors", "neutral"):
        texts += [caption(rng, name, None, draw_nuisance(rng)).text for _ in range(N_PLAIN)]
    return texts


def latent_semantics(
    texts: Sequence[str], corpus: Sequence[str], widths: Sequence[int] = WIDTHS, seed: int = 0
) -> dict[int, Float[np.ndarray, "text width"]]:
    """Return the place of every text in latent semantic spaces of several widths.

    Args:
        texts: to be placed; they are part of the corpus.
        corpus: further captions.
        widths: dimensions wanted. One that exceeds the rank that words and captions allow is cut to it; equal
            ones count once.
        seed: of the randomised decomposition.

    Returns:
        Width -> coordinates at unit length; a text of unknown words would be 0.

    >>> places = latent_semantics(["sad flute", "grey flute"], ["sad grey rain"] * 3, widths=(2,))
    >>> places[2].shape
    (2, 2)
    """
    vectorizer = TfidfVectorizer(token_pattern=WORD.pattern, sublinear_tf=True)
    counts = vectorizer.fit_transform([*texts, *corpus])
    most = min(counts.shape) - 1
    cut = sorted({min(width, most) for width in widths})
    places = TruncatedSVD(cut[-1], random_state=seed).fit_transform(counts)[: len(texts)]
    return {width: _unit(places[:, :width]) for width in cut}


def _unit(rows: Float[np.ndarray, "text width"]) -> Float[np.ndarray, "text width"]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
