"""Compare reports/metrics.json with the notebook, model by model; exit 1 where one is off."""

import sys

from cf.core import io, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.core.ratings import Provenance, SplitInfo
from cf.evaluation import leaderboard

EXPECTED = {
    "dot": (1.134, 0.012),
    "dotbias_sgd": (0.779, 0.004),
    "dotbias": (0.734, 0.005),
    "embnet": (0.773, 0.006),
}
"""Validation MSE and how far a seed may take it from there, in stars²."""


@exit_on_input_error
def main() -> None:
    """Print each model's validation MSE beside the notebook's."""
    metrics = io.read_json(paths.METRICS)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    part = io.read_json(paths.DATA)["part"]
    if part != "valid" or not leaderboard.is_notebooks(provenance, split):
        raise InputError(
            f"{paths.METRICS}: these are {part} scores on {provenance.dataset}, split by "
            f"{split.method}: the notebook's are validation scores on ml-latest-small, split at "
            "random, fraction 0.2, seed 42."
        )
    off = 0
    for model, (expected, tolerance) in EXPECTED.items():
        got = metrics[model]["mse"]
        fits = abs(got - expected) <= tolerance
        off += not fits
        print(
            f"{model:12} mse {got:.4f}, notebook {leaderboard.NOTEBOOK_MSE[model]:.4f}, "
            f"expected {expected} ± {tolerance}: {'ok' if fits else 'OFF'}"
        )
    sys.exit(1 if off else 0)


if __name__ == "__main__":
    main()
