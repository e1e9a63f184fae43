"""A grid of experiments over two parameters, as a heat map: cf grid."""

from itertools import product

import pandas as pd

from cf.cli import experiments
from cf.core import config, io, paths
from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation.grid import grid
from cf.reporting.heatmap import grid_heatmap
from cf.reporting.save import save
from cf.tracking.record import new_record, recording

SECTION = "train_dotbias"
N_FACTORS = [10, 25, 50]
WEIGHT_DECAYS = [0.00005, 0.0001, 0.0002]
JOBS = 2


def main() -> None:
    """Run the experiments, draw the heat map, and give it a run of its own in MLflow."""
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    points = {
        f"grid-{n_factors}-{decay:f}": {
            f"{SECTION}.model.n_factors": n_factors,
            f"{SECTION}.optimizer.weight_decay": decay,
        }
        for n_factors, decay in product(N_FACTORS, WEIGHT_DECAYS)
    }
    experiments.run(points, JOBS, replacing="grid")
    found = grid(experiments.shown(), "grid", SECTION)
    title = f"Validation RMSE of {found.model}: {provenance.dataset}"
    rows, columns = (
        pd.Index(values, name=key)
        for key, values in zip(found.keys, (found.rows, found.columns), strict=True)
    )
    save(grid_heatmap(pd.DataFrame(found.rmse, rows, columns), title), paths.GRID)

    record = new_record(settings.experiment, f"grid {found.model}", {}, provenance, split)
    record.finish()
    record.reports = [paths.GRID.as_posix()]
    with recording(settings) as recorder:
        recorder.upsert(record)
    print(f"{paths.GRID}: RMSE over {' and '.join(found.keys)}")
