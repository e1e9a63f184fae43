"""What the experiments of `make grid` came to, as a heat map. Usage: python -m stages.grid

No stage of the pipeline: it looks at the experiments that DVC's queue has run.
"""

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.evaluation.grid import grid
from cf.reporting.heatmap import grid_heatmap
from cf.reporting.save import save
from stages import paths
from stages.experiments import shown
from stages.stage import stage

SECTION = "train_dotbias"


@stage
def main() -> None:
    """Draw the heat map, and give it a run of its own in MLflow."""
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
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
