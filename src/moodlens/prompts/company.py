"""What a word's company tells of it: static vectors of words, fitted to captions without any emotion label.

The baseline of the rung on the text encoder. An encoder that places a wording by its emotion may do so
because the wording keeps the company of other wordings of that emotion in captions. Two analyses hold that
company, and the probe of the baseline chooses between them inside the training folds:

latent semantics   a text is its weighted words, reduced to the main axes of all captions (TF-IDF and SVD)
word vectors       a word is the list of words it stands with more often than by chance (positive pointwise
                   mutual information), reduced to the main axes; a text is the weighted mean of its words.
                   Words that share no caption, but company, lie near each other

Corpus: every wording of every emotion in every template of its set, captions of musical factors, captions
without emotion, and the captions that the caller adds. Held-out wordings are in it, as they are in the
training text of an encoder; no label is. In the grammar's own captions two wordings of one emotion never
stand together, so there the company tells little. A caption table of people tells more.

Sources: Deerwester et al. 1990, Indexing by latent semantic analysis; Levy, Goldberg and Dagan 2015,
Improving distributional similarity with lessons learned from word embeddings (PPMI and SVD, each axis scaled
by the root of its singular value).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from moodlens.base.axes import EMOTIONS
from moodlens.base.seeding import rng_for
from moodlens.prompts.grammar import EMOTION_SETS, caption, draw_nuisance, fill, templates_of, wordings
from moodlens.prompts.lexicon import WORD

WIDTHS = (16, 128)
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


def company_of(
    texts: Sequence[str], corpus: Sequence[str], widths: Sequence[int] = WIDTHS, seed: int = 0
) -> dict[str, Float[np.ndarray, "text width"]]:
    """Return the place of every text by either analysis, in several widths.

    Args:
        texts: to be placed; they are part of the corpus.
        corpus: further captions.
        widths: dimensions wanted. One that exceeds the rank that words and captions allow is cut to it; equal
            ones count once.
        seed: of the randomised decompositions.

    Returns:
        Analysis and width -> coordinates at unit length.

    >>> places = company_of(["sad flute", "grey flute"], ["sad grey rain"] * 3, widths=(2,))
    >>> {name: place.shape for name, place in places.items()}
    {'latent semantics 2': (2, 2), 'word vectors 2': (2, 2)}
    """
    vectorizer = TfidfVectorizer(token_pattern=WORD.pattern, sublinear_tf=True)
    weighted = vectorizer.fit_transform([*texts, *corpus]).tocsr()
    most = min(weighted.shape) - 1
    cut = sorted({min(width, most) for width in widths})
    axes = TruncatedSVD(cut[-1], random_state=seed)
    latent = axes.fit_transform(weighted)[: len(texts)]
    present = (weighted > 0).astype(np.float64)
    words = TruncatedSVD(cut[-1], random_state=seed)
    vectors = words.fit_transform(_mutual_information(present.T @ present, weighted.shape[1]))
    vectors /= np.sqrt(np.maximum(words.singular_values_, np.finfo(float).tiny))
    mean = weighted[: len(texts)] @ vectors
    places = {"latent semantics": latent, "word vectors": mean}
    return {f"{name} {width}": _unit(rows[:, :width]) for name, rows in places.items() for width in cut}


def _mutual_information(together: csr_array, n: int) -> csr_array:
    """Return the positive pointwise mutual information of n words, from how many captions hold both."""
    pairs = together.tocoo()
    apart = pairs.row != pairs.col
    rows, columns, counts = pairs.row[apart], pairs.col[apart], pairs.data[apart]
    own = np.bincount(rows, counts, minlength=n)
    information = np.log(counts * own.sum() / (own[rows] * own[columns]))
    return csr_array((np.maximum(information, 0), (rows, columns)), shape=(n, n))


def _unit(rows: Float[np.ndarray, "text width"]) -> Float[np.ndarray, "text width"]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
