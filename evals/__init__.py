"""Model and adapter in, results and verdict out: suites, statistics, references, overfitting measurements, gates.

`run` writes results as files; `gate` judges from those files alone and never loads a model. Only `harness` imports
lm_eval.
"""

__distribution__ = "assay"
