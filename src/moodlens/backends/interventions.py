"""Interventions without a model library: checks before anything is run, and the rows that they act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from moodlens.backends.requests import check_codes, check_prompt
from moodlens.base.axes import HALVES
from moodlens.base.errors import UsageError, must, nearest
from moodlens.contracts.backend import ModelInfo
from moodlens.contracts.interventions import OPERATIONS, Donor, Intervention

FROM_ORTHONORMAL = 1e-3
"""Largest difference of the rows of `vectors` from an orthonormal set."""


def check_interventions(
    edits: Sequence[Intervention],
    hookpoints: Sequence[str],
    info: ModelInfo,
    n_steps: int,
    first: int = 0,
    halves: Sequence[str] = HALVES,
    n_frames: int | None = None,
) -> None:
    """Check interventions against the model and the steps that will be run.

    Args:
        edits: of one clip.
        hookpoints: of the model.
        info: of the model.
        n_steps: decoder steps of the clip.
        first: first step that is run; earlier ones are cached already.
        halves: halves that are run.
        n_frames: frames of the clip, for a donor with tokens of its own.

    Raises:
        UsageError: an intervention names a hookpoint, half, operation or step that does not exist, lacks a
            field of its operation, has one of another, or holds a number that is not finite.
    """
    for edit in edits:
        thing = f"the intervention on {edit.hookpoint}"
        if edit.operation not in OPERATIONS:
            advice = nearest(edit.operation, list(OPERATIONS))
            raise UsageError(must(thing, "name an operation", edit.operation, next_step=advice))
        if edit.hookpoint not in hookpoints:
            advice = nearest(edit.hookpoint, list(hookpoints))
            rule = "name a hookpoint of this model"
            raise UsageError(must("an intervention", rule, edit.hookpoint, next_step=advice))
        if edit.half not in (*halves, "both"):
            rule = f"name a half that is run ({', '.join(halves)})"
            advice = "Run or record both halves"
            raise UsageError(must(thing, rule, edit.half, next_step=advice))
        if edit.donor is not None and edit.half != "cond":
            rule = "exchange states of the conditional half"
            raise UsageError(must(thing, rule, edit.half, next_step="The other half has no text: name cond"))
        if edit.steps is not None and not first <= edit.steps[0] < edit.steps[1] <= n_steps:
            rule = f"name steps with {first} <= first < stop <= {n_steps}"
            raise UsageError(must(thing, rule, edit.steps, next_step="Correct the steps"))
        for name in ("coefficient", "decay"):
            value = getattr(edit, name)
            if not np.isfinite(value) or (name == "decay" and not 0 <= value <= 1):
                rule = f"have a finite {name}" if name == "coefficient" else "have a decay in 0..1"
                raise UsageError(must(thing, rule, value, next_step="Correct it"))
        _check_fields(thing, edit, (first, n_steps))
        if edit.donor is not None:
            _check_donor(thing, edit.donor, info, n_frames)


def _check_fields(thing: str, edit: Intervention, run: tuple[int, int]) -> None:
    needed = {
        "add": ("vectors",),
        "exchange": ("donor",),
        "replace": ("vectors",),
        "project_out": ("vectors",),
        "clamp": ("latent",),
    }[edit.operation]
    allowed = {"exchange": ("vectors", "donor"), "project_out": ("vectors", "centre")}
    for name in ("vectors", "centre", "donor", "latent"):
        given = getattr(edit, name) is not None
        if name in needed and not given:
            raise UsageError(must(thing, f"give {name} to {edit.operation}", None, next_step="Add it"))
        if given and name not in allowed.get(edit.operation, needed):
            rule = f"leave {name} at None with {edit.operation}"
            raise UsageError(must(thing, rule, "a value", next_step="Remove it, or name another operation"))
    arrays = [edit.vectors, edit.centre]
    if edit.latent is not None:
        arrays += [edit.latent.encoder, edit.latent.decoder, np.float64(edit.latent.bias)]
    if any(array is not None and not np.isfinite(array).all() for array in arrays):
        raise UsageError(
            must(thing, "hold finite numbers", "NaN or infinity", next_step="Correct its vectors")
        )
    _check_vectors(thing, edit, run)


def _check_vectors(thing: str, edit: Intervention, run: tuple[int, int]) -> None:
    vectors = edit.vectors
    if vectors is None:
        return
    start, stop = edit.steps or run
    if vectors.ndim != 2 or not len(vectors):
        raise UsageError(must(thing, "have vectors (row, width)", vectors.shape, next_step="Reshape them"))
    if edit.operation == "add" and len(vectors) != 1:
        raise UsageError(must(thing, "add one vector", len(vectors), next_step="Sum the vectors"))
    if edit.operation == "replace" and len(vectors) not in (1, stop - start):
        rule = f"give one value, or one for each of {stop - start} steps"
        raise UsageError(must(thing, rule, len(vectors), next_step="Give one value per step"))
    if edit.operation in ("exchange", "project_out"):
        error = np.abs(vectors @ vectors.T - np.eye(len(vectors))).max()
        if error > FROM_ORTHONORMAL:
            rule, got = "project on orthonormal rows", f"rows that differ from it by {error:.2g}"
            raise UsageError(must(thing, rule, got, next_step="Orthonormalise them (numpy.linalg.qr)"))


def _check_donor(thing: str, donor: Donor, info: ModelInfo, n_frames: int | None) -> None:
    if donor.text is not None:
        check_prompt(donor.text)
    if donor.codes is None:
        return
    check_codes(donor.codes[None], 1, info)
    if n_frames is not None and donor.codes.shape[1] != n_frames:
        rule = f"have a donor of {n_frames} frames"
        raise UsageError(must(thing, rule, donor.codes.shape[1], next_step="Give tokens of one length"))


def check_fits(name: str, width: int, d_model: int) -> None:
    """Check the width of an intervention against that of the states.

    Raises:
        UsageError: they differ.
    """
    if width != d_model:
        advice = "Take vectors of this hookpoint and this model"
        raise UsageError(must(f"{name} of an intervention", f"be {d_model} wide", width, next_step=advice))


@dataclass(frozen=True)
class Beside:
    """A donor's row of a pass."""

    clip: int  # the recipient whose tokens it is fed
    donor: Donor


@dataclass(frozen=True)
class Job:
    """One intervention on one row of a pass."""

    row: int
    edit: Intervention
    donor: int = -1  # row of the donor, for exchange


def donors_of(edits: Sequence[Sequence[Intervention]], one_clip: bool = False) -> list[Beside]:
    """Return the donors that recipients need, each once.

    Args:
        edits: interventions of every recipient.
        one_clip: all recipients are fed the same tokens, so that donors under one text are one donor.
    """
    found: dict[tuple, Beside] = {}
    for clip, own in enumerate(edits):
        for edit in own:
            if edit.donor is not None:
                found.setdefault(_key(clip, edit.donor, one_clip), Beside(clip, edit.donor))
    return list(found.values())


def jobs_of(
    edits: Sequence[Sequence[Intervention]],
    donors: Sequence[Beside],
    first_row: Mapping[str, int],
    first_donor: int,
    one_clip: bool = False,
) -> list[Job]:
    """Return the interventions with their rows.

    Args:
        edits: interventions of every recipient.
        donors: from `donors_of`.
        first_row: half -> row of the first recipient in it; the others follow.
        first_donor: row of the first donor.
        one_clip: as in `donors_of`.
    """
    rows = {_key(one.clip, one.donor, one_clip): first_donor + i for i, one in enumerate(donors)}
    jobs = []
    for clip, own in enumerate(edits):
        for edit in own:
            donor = -1 if edit.donor is None else rows[_key(clip, edit.donor, one_clip)]
            halves = HALVES if edit.half == "both" else (edit.half,)
            jobs += [Job(first_row[half] + clip, edit, donor) for half in halves]
    return jobs


def _key(clip: int, donor: Donor, one_clip: bool) -> tuple:
    codes = None if donor.codes is None else donor.codes.tobytes()
    return (None if one_clip or codes is not None else clip), donor.text, codes
