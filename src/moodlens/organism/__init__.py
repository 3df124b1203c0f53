"""The embedded model: composer, synthesiser, architecture, training, evaluation and model card."""
