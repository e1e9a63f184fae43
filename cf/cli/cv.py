"""A cross-validation of all models, each fold with each seed as an experiment: cf cv."""

from itertools import product

from rich.console import Console

from cf.cli import experiments
from cf.core import config, io, paths
from cf.core.config import Cv
from cf.core.errors import InputError
from cf.evaluation import cross_validation
from cf.reporting.tables import cv_table
from cf.tracking.record import group, recording

PREFIX = "cv"


def main() -> None:
    """Run the folds, compare the models, and give each model a run over its folds in MLflow."""
    cv = config.load(paths.PARAMS, "cv", config.Cv)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    trained = config.trained_models(paths.PARAMS)
    planned = plan(cv, trained)
    if failures := experiments.run(planned, cv.jobs, PREFIX, target="evaluate"):
        raise InputError(failures)

    found = experiments.results(planned)
    rmse = found.filter(regex=r"^[^.]+\.rmse$").rename(columns=lambda name: name.partition(".")[0])
    shape = cv.n_folds, len(cv.seeds)
    compared = cross_validation.compare(
        {str(model): values.to_numpy().reshape(shape) for model, values in rmse.items()},
        int(found["n_users"].iloc[0]),
    )
    io.write_csv(paths.CV, compared)
    with recording(settings, timeout_s=None) as recorder:
        for model, metrics in cross_validation.run_metrics(compared).items():
            if model in trained:
                folds = [experiments.read_record(revision, model) for revision in found["rev"]]
                for record in group(f"cv {model}", folds, paths.CV, metrics):
                    recorder.upsert(record)
    title = f"{found['dataset'].iloc[0]}: {cv.n_folds} folds, {len(cv.seeds)} seeds each"
    Console(highlight=False).print(cv_table(compared, title, found["unit"].iloc[0]))


def plan(cv: Cv, models: list[str]) -> dict[str, dict[str, object]]:
    """The parameters that each experiment changes, by its name; folds in order, then seeds."""
    return {
        f"{PREFIX}-fold{fold}-seed{seed}": {
            "split.method": "k_fold",
            "split.n_folds": cv.n_folds,
            "split.fold": fold,
            "split.test": False,
            "evaluate.part": "valid",
            **{f"train_{model}.seed": seed for model in models},
        }
        for fold, seed in product(range(cv.n_folds), cv.seeds)
    }
