"""What each number on the page means, for a reader who meets it for the first time."""

from moodlens.report.records import Fact

GLOSSARY = (
    Fact(
        "Prompt, clip, seed",
        "A prompt is one text; a clip is one waveform generated from it with one seed. "
        "Prompts are the unit of evidence: n counts prompts unless it says clips.",
    ),
    Fact(
        "Effect",
        "Mean cosine similarity of prompts of the same emotion minus that of prompts of different "
        "emotions, after centring each site. 0 is no effect; there is no unit.",
    ),
    Fact(
        "Share of the ceiling",
        "The effect divided by what the same prompt with another seed reaches: how much of the "
        "attainable similarity emotion explains.",
    ),
    Fact(
        "p",
        "Share of random relabellings of whole prompts that do at least as well. The smallest it can be is "
        "1 / (relabellings + 1), or one over the number of distinct relabellings where the design is small.",
    ),
    Fact(
        "p, maxT",
        "The same, against the best site of each relabelling (Westfall and Young): it stays honest "
        "however many sites are looked at. It decides IF.",
    ),
    Fact(
        "q, BH",
        "False discovery rate after Benjamini and Hochberg: among the sites at or below this value, the "
        "expected share of false ones. It helps to say WHERE.",
    ),
    Fact(
        "Textbook t-test",
        "A t-test on pairwise similarities. Descriptive, not valid: pairs share prompts, so it calls "
        "almost any data significant (false-positive rate above 0.99 where 0.05 is claimed).",
    ),
    Fact("Interval", "95 % bootstrap over prompts unless the page says another level."),
    Fact(
        "Accuracy",
        "Share of held-out prompts whose emotion a linear probe names. Folds by prompt hold whole prompts "
        "out; folds by wording hold out every prompt that uses the same emotion word, scene or term.",
    ),
    Fact(
        "Bag of words",
        "A probe that sees only which words the prompt contains. What a layer must beat to hold "
        "more than the words.",
    ),
    Fact(
        "Untrained twin",
        "The same architecture with random weights, fed the same text and tokens. What a layer must beat "
        "to owe anything to training.",
    ),
    Fact(
        "Equivalence",
        '"None" is claimed only if an effect of the stated size, planted into this very data, '
        "would have been found. Otherwise the verdict is undecided, with the number of prompts that would "
        "settle it.",
    ),
)
