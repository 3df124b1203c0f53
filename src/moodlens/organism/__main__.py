"""`python -m moodlens.organism <stage>`, run in models/organism: one stage of its dvc.yaml."""

import os
import sys
from importlib import import_module
from pathlib import Path

from moodlens.base.command import exit_status, one_name

SIBLINGS = ("organism", "memory", "reader", "shuffled")
SMALL_SEEDS = (1, 2, 3)

STAGES: dict[str, tuple[str, str, tuple[str | int, ...]]] = {
    "codec": ("commands", "codec", ()),
    "tokens": ("commands", "tokens", ()),
    "text": ("commands", "text", ()),
    "shared": ("commands", "shared", ()),
    "music-only": ("commands", "music", ()),
    **{name: ("commands", "sibling", (name,)) for name in SIBLINGS},
    **{f"small-{seed}": ("commands", "small", (seed,)) for seed in SMALL_SEEDS},
    "judge": ("judging", "judge", ()),
    "evaluate": ("evaluate", "evaluate", ()),
    "card": ("card", "card", ()),
}
"""Stage -> module of this package, function in it, and arguments behind recipe and folder."""

THREADS = 1
"""Two threads were 11-24 times slower than one on these tiny products, on a shared 2-core machine."""


def main(argv: list[str]) -> int:
    """Run one stage and return its exit status: 0 done, 1 a contract failed, 2 wrong use."""
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return exit_status(
        lambda: _run(one_name(argv, tuple(STAGES), "the command")), kept="the last state is kept"
    )


def _run(stage: str) -> None:
    import torch
    from transformers.utils import logging

    from moodlens.organism.recipe import load_recipe

    # by name, so that the import closure of this module holds no stage: see tests/organism/test_commands.py
    module, name, arguments = STAGES[stage]
    run = getattr(import_module(f"moodlens.organism.{module}"), name)
    recipe = load_recipe(Path("params.yaml"))
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]
    run(recipe, Path(), *arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
