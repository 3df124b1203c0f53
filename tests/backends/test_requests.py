"""Rules of how a request is run, each defined in one place."""

import ast
from pathlib import Path

import pytest

import moodlens
from moodlens.backends.requests import captured_halves, halves_run, packing_pays
from moodlens.base.errors import UsageError
from moodlens.contracts.backend import Capture

SOURCE = Path(moodlens.__file__).parent


@pytest.mark.parametrize(
    ("guidance_scale", "half", "halves"),
    [
        (1, "cond", ("cond",)),
        (1.0, "uncond", ("cond", "uncond")),
        (1.0, "both", ("cond", "uncond")),
        (3.0, "cond", ("cond", "uncond")),
        (0.0, "cond", ("cond", "uncond")),
    ],
)
def test_null_text_runs_under_guidance_or_when_it_is_recorded(
    guidance_scale: float, half: str, halves: tuple[str, ...]
):
    assert halves_run(guidance_scale, half) == halves
    assert set(captured_halves(Capture(half=half))) <= set(halves)


def test_an_unknown_half_is_refused():
    with pytest.raises(UsageError, match="must be cond, uncond or both; got 'null'"):
        captured_halves(Capture(half="null"))


def test_guidance_scales_are_compared_in_two_places_only():
    """`halves_run` decides which halves run, `sampling.guided` combines them."""
    places = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(("guidance_scale", "scale"))
        and ast.unparse(node.comparators[0]) == "1"
    ]  # fmt: skip
    assert sorted(places) == ["backends/requests.py", "backends/sampling.py"]


def test_weights_are_packed_for_wide_decoders_in_float32_that_fit():
    assert packing_pays("float32", 1024, 1_440_000_000)  # MusicGen-small
    assert not packing_pays("float32", 192, 1_000_000)
    assert not packing_pays("float32", 1536, 6_300_000_000)  # medium
    assert not packing_pays("bfloat16", 1024, 720_000_000)
