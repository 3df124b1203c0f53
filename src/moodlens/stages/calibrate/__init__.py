"""The stages of calibration/dvc.yaml, one module each with `run(params, home)`.

`home` is the folder calibration/; the workspace of the main pipeline is its parent.
"""
