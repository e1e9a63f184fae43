"""What the experiments of `make grid` came to, as a heat map. Usage: python -m cf.cli.grid

No stage of the pipeline: it looks at the experiments that DVC's queue has run.
"""

from cf.cli.experiments import shown
from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation.grid import grid
from cf.reporting.heatmap import grid_heatmap
from cf.reporting.save import save
from cf.tracking import record as tracking

SECTION = "train_dotbias"


@exit_on_input_error
def main() -> None:
    """Draw the heat map, and give it a run of its own in MLflow."""
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    found = grid(shown(), "grid", SECTION)
    title = f"Validation RMSE of {found.model}: {provenance.dataset}"
    save(grid_heatmap(found, title), paths.GRID)

    study = tracking.study(settings.experiment, f"grid {found.model}", {}, provenance, split)
    with tracking.recorder(settings) as recorder:
        recorder.start(study)
        recorder.finish(study, [paths.GRID], "figures")
    print(f"{paths.GRID}: RMSE over {' and '.join(found.keys)}")


if __name__ == "__main__":
    main()
