"""The calibration's own pipeline, one module per stage of calibration/dvc.yaml; each has `run(params, home)`.

`home` is the folder calibration/; the workspace of the main pipeline is its parent.
"""
