"""The model card of a registered SAE: what it was trained on, how good it is, where it comes from."""

from collections.abc import Mapping
from typing import Any


def card_of(
    site: str,
    figures: Mapping[str, Any],
    of_latents: Mapping[str, Any],
    trained: Mapping[str, Any],
    params: Mapping[str, Any],
    lineage: Mapping[str, str],
) -> str:
    """Return the card in Markdown.

    Args:
        site: site that the SAE was trained on.
        figures: of the site, of metrics/sae.json.
        of_latents: of the site, of metrics/latents.json; empty where its latents were not tested.
        trained: metrics/sae.json, for its gates.
        params: by section, of the run that trained it.
        lineage: name -> revision, run id or md5.
    """
    section = params["sae"]
    gates = "open" if trained["gate_passed"] else f"overridden ({trained['gates_failed']})"
    rows = [
        f"# SAE of {site}, {params['model']['id']}",
        "",
        f"{section['architecture']}, {figures['d_in']} -> {figures['d_sae']} latents; {figures['n_rows']} "
        f"rows in training; {figures['chosen']} of {figures['n_seeds']} seeds, chosen by validation FVU.",
        "",
        "| | held-out wordings | training |",
        "|---|---|---|",
        f"| FVU | {figures['fvu']:.4f} | {figures['fvu_train']:.4f} |",
        f"| MSE | {figures['mse']:.4f} | {figures['mse_train']:.4f} |",
        f"| L0 | {figures['l0']:.1f} | |",
        f"| dead | | {figures['dead']:.3f} |",
        "",
        f"Gates of `decide`: {gates}. Input: rows of {site}, (row, {figures['d_in']}) float32, model units.",
        f"Output: latents, (row, {figures['d_sae']}) float32. A latent that responds to the prompts of an "
        "emotion is no evidence that the model uses it.",
    ]
    if of_latents:
        rows += ["", _of_latents(of_latents)]
    rows += ["", "## Lineage", "", "| | |", "|---|---|"]
    rows += [f"| {name} | `{value}` |" for name, value in lineage.items() if value]
    return "\n".join(rows)


def _of_latents(figures: Mapping[str, Any]) -> str:
    gate = "passed" if figures["champion_gate"] else "not passed"
    selective = {
        "": figures["n_selective"],
        "with shuffled labels ": figures["shuffled_selective"],
        "of an untrained SAE ": figures.get("untrained_sae_selective"),
    }
    counts = ", ".join(f"{whose}{count:g}" for whose, count in selective.items() if count is not None)
    return f"Selective latents, of {figures['n_latents']}: {counts}. Gate of `latents`: {gate}."
