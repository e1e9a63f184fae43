"""bayesmf on the validation rows of other splits, and with other sampler seeds. Chooses nothing.

Takes data/encoded (`dvc repro encode`). Usage: python -m benchmarks.splits [SEEDS]
"""

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.bayesmf import OFF, changed, judged
from cf import params
from cf.data import splitting, tables
from cf.evaluation import metrics
from cf.models import baseline
from cf.params import Evaluate, Sampling
from stages import paths

FRACTION = 0.2
VARIANTS = {
    "everything": {},
    "without rated": {"rated": False},
    "without raters": {"raters": False},
    "ids and user_noise": OFF | {"user_noise": True},
    "ids only": OFF,
}


def main() -> None:
    """Print the table, the mean over the seeds."""
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sampling = params.load(paths.PARAMS, "train_bayesmf", Sampling)
    damping = params.load(paths.PARAMS, "evaluate", Evaluate).damping
    ratings = tables.read_ratings(paths.ENCODED_RATINGS)
    splits = {
        f"random, {seed}": splitting.random_split(len(ratings), FRACTION, seed)
        for seed in (42, 7, 8)
    }
    splits["time"] = splitting.by_time(ratings.timestamps, FRACTION)
    table = Table(title=f"bayesmf, {n_seeds} sampler seeds")
    for heading in ("split", "variant", "RMSE", "cold"):
        table.add_column(heading, justify="right" if heading in ("RMSE", "cold") else "left")
    for name, parts in splits.items():
        train, valid = ratings.take(parts["train"]), ratings.take(parts["valid"])
        bias = baseline.bias(train, valid.users, valid.items, damping)
        table.add_row(name, "bias baseline", f"{metrics.rmse(bias, valid.values):.4f}", "")
        for variant, changes in VARIANTS.items():
            runs = [
                judged(changed(sampling, seed, **changes), train, valid)
                for seed in range(1, n_seeds + 1)
            ]
            rmse, cold, _ = np.mean(runs, axis=0)
            table.add_row(name, variant, f"{rmse:.4f}", f"{cold:.4f}")
    Console().print(table)


if __name__ == "__main__":
    main()
