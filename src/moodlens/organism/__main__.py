"""`python -m moodlens.organism <command>`, run in models/organism: one stage of its dvc.yaml."""

import os
import sys
from importlib import import_module
from pathlib import Path

from moodlens.base.errors import MoodLensError, UsageError, must, nearest

COMMANDS = ("codec", "tokens", "text", "music", "organism", "shuffled", "evaluate", "card")
THREADS = 1
"""Two threads were 11-24 times slower than one on these tiny products, on a shared 2-core machine."""


def main(argv: list[str]) -> int:
    """Run one command and return its exit status: 0 done, 1 a contract failed, 2 wrong use."""
    os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        if len(argv) != 1 or argv[0] not in COMMANDS:
            got = " ".join(argv) or "nothing"
            raise UsageError(must("the command", "be one", got, next_step=nearest(got, list(COMMANDS))))
        _run(argv[0])
    except MoodLensError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted: the last state is kept; run again to resume", file=sys.stderr)
        return 130
    return 0


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
