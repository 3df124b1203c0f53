"""Ways to damage a folder in audiocraft layout, and the error line of its conversion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from moodlens.backends.audiocraft.convert import convert
from moodlens.base.errors import MoodLensError, UsageError

LM, CODEC = "state_dict.bin", "compression_state_dict.bin"


def change(path: Path, edit: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    """Rewrite a package after `edit(xp.cfg, weights)`."""
    package = torch.load(path, weights_only=True)
    config = yaml.safe_load(package["xp.cfg"])
    edit(config, package["best_state"])
    torch.save(package | {"xp.cfg": yaml.safe_dump(config)}, path)


def refused(folder: Path, kind: type[MoodLensError] = UsageError) -> str:
    """Return the one line that a conversion ends in; the target's place must stay as it was."""
    before = sorted(path.name for path in folder.parent.iterdir())
    with pytest.raises(kind) as caught:
        convert(folder, folder.parent / "target")
    assert sorted(path.name for path in folder.parent.iterdir()) == before
    line = str(caught.value)
    assert "\n" not in line
    assert line.endswith((".", "?"))
    return line
