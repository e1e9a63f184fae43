"""Train one model: data/split to models/<name>. Usage: python -m stages.train NAME"""

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from stages import commit, paths, runs
from stages.stage import stage


@stage
def main() -> None:
    """Train the model that the section train_<name> of params.yaml describes."""
    name = runs.the_name()
    training = params.load(paths.PARAMS, f"train_{name}", params.Training)
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
    changed = commit.changes(name)
    execution = tracking.execution(settings.experiment, name, training, provenance, split, changed)
    with tracking.recorder(settings) as recorder:
        from stages.training import train  # late: MLflow is imported while torch is

        train(name, training, provenance, execution, recorder)
    runs.write(name, execution)


if __name__ == "__main__":
    main()
