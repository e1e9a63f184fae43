"""bayesmf on the validation rows of other splits, and with other sampler seeds. Chooses nothing.

Takes data/encoded (`dvc repro encode`). Usage: python -m benchmarks.splits [SEEDS]
"""

import sys

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.bayesmf import mean, variants
from cf.baselines.bias import Bias
from cf.core import config, io, paths
from cf.core.config import Evaluate, Sampling
from cf.core.ratings import Ratings
from cf.data import split as splitting
from cf.evaluation import calibration, metrics

FRACTION = 0.2
N_LAST = 5
WIDER = {"20 factors": {"n_factors": 20}}


def main() -> None:
    """Print the table, the mean over the seeds."""
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sampling = config.load(paths.PARAMS, "train_bayesmf", Sampling)
    damping = config.load(paths.PARAMS, "evaluate", Evaluate).damping
    ratings = Ratings.from_frame(io.read_parquet(paths.ENCODED_RATINGS))
    splits = {
        f"random, {seed}": splitting.random_split(len(ratings), FRACTION, seed)
        for seed in (42, 7, 8)
    }
    splits[f"leave_last, {N_LAST}"] = splitting.leave_last(
        ratings.users, ratings.timestamps, N_LAST
    )
    splits["time"] = splitting.by_time(ratings.timestamps, FRACTION)
    table = Table(title=f"bayesmf, {n_seeds} sampler seeds", box=box.SIMPLE_HEAD, padding=0)
    for heading in ("split", "variant"):
        table.add_column(heading)
    for heading in ("RMSE", "cold", "nll", *(f"{level}%" for level in calibration.COVERAGE)):
        table.add_column(heading, justify="right")
    for name, parts in splits.items():
        train, valid = ratings.take(parts["train"]), ratings.take(parts["valid"])
        sizes = 1 + ratings.users.max(), 1 + ratings.items.max()
        bias = Bias(damping).fit(train, *sizes).predict(valid.users, valid.items)
        table.add_row(name, "bias baseline", f"{metrics.rmse(bias, valid.values):.4f}")
        for variant, changes in {**variants(sampling, train), **WIDER}.items():
            found = mean(sampling, n_seeds, changes, train, valid)
            figures = [f"{found[key]:.4f}" for key in ("rmse", "cold")]
            shares = [f"{100 * found[key]:.1f}" for key in calibration.COVERAGE.values()]
            table.add_row(name, variant, *figures, f"{found['nll']:.3f}", *shares)
    Console().print(table)


if __name__ == "__main__":
    main()
