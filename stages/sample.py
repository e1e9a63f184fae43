"""Sample one model's posterior: data/split to models/<name>. Usage: python -m stages.sample NAME"""

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from stages import commit, paths, runs
from stages.stage import stage


@stage
def main() -> None:
    """Sample the model that the section train_<name> of params.yaml describes."""
    name = runs.the_name()
    sampling = params.load(paths.PARAMS, f"train_{name}", params.Sampling)
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    provenance = tables.read_facts(paths.SPLIT_PROVENANCE, Provenance)
    split = tables.read_facts(paths.SPLIT_FACTS, SplitFacts)
    changed = commit.changes(name)
    execution = tracking.execution(settings.experiment, name, sampling, provenance, split, changed)
    with tracking.recorder(settings) as recorder:
        from stages.sampling import sample  # late: MLflow is imported while torch is

        sample(name, sampling, provenance, execution, recorder)
    runs.write(name, execution)


if __name__ == "__main__":
    main()
