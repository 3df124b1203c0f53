"""The organism's own pipeline, one module per stage of models/organism/dvc.yaml.

Thin shells: recipe -> load -> core -> write. Each has `run(recipe, folder)`. Paths are relative to
models/organism. What is only needed to make the weights stays out of git (`codec/`, `tokens.safetensors`,
states of unfinished trainings in `work/`); what ships lies beside it. One module per stage, so that a
stage's import closure is its code dependency.
"""
