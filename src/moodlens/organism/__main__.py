"""`python -m moodlens.organism <command>`, run in models/organism: one stage of its dvc.yaml."""

import os
import sys
from importlib import import_module
from pathlib import Path

from moodlens.base.command import exit_status, one_name

COMMANDS = ("codec", "tokens", "text", "music", "organism", "shuffled", "evaluate", "card")
THREADS = 1
"""Two threads were 11-24 times slower than one on these tiny products, on a shared 2-core machine."""


def main(argv: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 a contract failed, 2 wrong use."""
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return exit_status(lambda: _run(one_name(argv, COMMANDS, "the command")), kept="the last state is kept")


def _run(name: str) -> None:
    import torch
    from transformers.utils import logging

    from moodlens.organism.recipe import load_recipe

    module = import_module(f"moodlens.organism.commands.{name}")

    recipe = load_recipe(Path("params.yaml"))
    torch.set_num_threads(THREADS)
    torch.set_flush_denormal(True)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    sys.stdout.reconfigure(line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue]
    module.run(recipe, Path())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
