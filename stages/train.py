"""Train one model: data/split to models/<name>. Usage: python -m stages.train NAME"""

from cf.core import config, git, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.provenance import Provenance, SplitInfo
from cf.tracking.record import new_training_record, recording
from stages import runs


@exit_on_input_error
def main() -> None:
    """Train the model that the section train_<name> of params.yaml describes."""
    name = runs.the_name()
    training = config.load(paths.PARAMS, f"train_{name}", config.Training)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    changed = git.changed_params(name)
    record = new_training_record(settings.experiment, name, training, provenance, split, changed)
    with recording(settings) as recorder:
        from stages.training import train  # late: MLflow is imported while torch is

        train(name, training, provenance, record, recorder)


if __name__ == "__main__":
    main()
