"""Cross-validate all models: make cv. No stage of the pipeline.

Each fold with each seed is an experiment of DVC, so its results are kept like any other's.
"""

from itertools import product
from uuid import uuid4

import numpy as np
from rich.console import Console

from cf.cli import experiments
from cf.core import config, io, paths
from cf.core.config import Cv
from cf.evaluation import cross_validation as crossval
from cf.evaluation.experiments import Experiment
from cf.reporting.tables import cv_table
from cf.tracking import record as records
from cf.tracking.record import RunRecord

PREFIX = "cv"


def main() -> None:
    """Run the folds, compare the models, and give each model a run over its folds in MLflow."""
    cv = config.load(paths.PARAMS, "cv", config.Cv)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    sections = config.parse_yaml(paths.PARAMS.read_text(encoding="utf-8"))
    models = [name.removeprefix("train_") for name in sections if name.startswith("train_")]
    wanted = planned(cv, models)
    folds = experiments.run(wanted, cv.jobs, replacing=PREFIX)

    names = folds[0].metrics
    rmse = {name: np.array([fold.metrics[name]["rmse"] for fold in folds]) for name in names}
    shape = cv.n_folds, len(cv.seeds)
    compared = crossval.compare({name: values.reshape(shape) for name, values in rmse.items()})
    io.write_csv(paths.CV, compared)

    dataset = experiments.kept(folds[0].rev, paths.DATA.as_posix())["dataset"]
    with records.recording(settings, timeout_s=None) as recorder:
        for model, metrics in crossval.run_metrics(compared).items():
            if model in models:
                executions = [executed(fold, model) for fold in folds]
                above = records.group(f"cv {model}", executions)
                above.metrics.update(metrics)
                above.reports = [paths.CV.as_posix()]
                for record in (above, *executions):
                    recorder.upsert(record)
    title = f"{dataset}: {cv.n_folds} folds, {len(cv.seeds)} seeds each"
    Console(highlight=False).print(cv_table(compared, title))


def planned(cv: Cv, models: list[str]) -> dict[str, dict[str, object]]:
    """The values that each experiment is to have, by its name; folds in order, then seeds.

    Names begin anew each time: the queue may hold experiments of a time before that was broken off.
    """
    this = uuid4().hex[:6]
    return {
        f"{PREFIX}-{this}-fold{fold}-seed{seed}": {
            "split.method": "k_fold",
            "split.n_folds": cv.n_folds,
            "split.fold": fold,
            "split.test": False,
            "evaluate.part": "valid",
            **{f"train_{model}.seed": seed for model in models},
        }
        for fold, seed in product(range(cv.n_folds), cv.seeds)
    }


def executed(experiment: Experiment, model: str) -> RunRecord:
    """The training of a model in an experiment."""
    return RunRecord(**experiments.kept(experiment.rev, f"runs/{model}.json"))
