"""Stage `judge`: the judge of emotion, fitted on the synthesiser's pieces after their turn.

The pieces pass through the codec first, because generated clips do. The judge hears the part of a clip in
which every piece has turned.
"""

from pathlib import Path

from moodlens.audio.judge import fit_judge, measured
from moodlens.base.seeding import seed_for
from moodlens.organism.architecture import load_codec
from moodlens.organism.evaluation_clips import WINDOW_S, synthesised_clips
from moodlens.organism.recipe import JUDGE, Recipe
from moodlens.store.judge_file import write_judge


def judge(recipe: Recipe, folder: Path) -> None:
    """Fit the judge on pieces of each emotion, measure it on as many others, and write judge.json."""
    part = recipe.evaluate
    codec = load_codec(folder)
    fitted, tested = (
        synthesised_clips(seed_for("judge", part.seed, use), part.n_reference_clips, codec).of(
            lambda emotion, _: emotion != ""
        )
        for use in ("fit", "test")
    )
    heard = [([row[0] for row in clips.descriptors], clips.emotions) for clips in (fitted, tested)]
    write_judge(measured(fit_judge(*heard[0], WINDOW_S), *heard[1]), folder / JUDGE)
