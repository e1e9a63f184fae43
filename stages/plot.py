"""Results to figures and a page: reports/, and the data behind it, to reports/figures,
reports/svg and reports/index.html.
"""

import os

from cf import params, tracking
from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.evaluation import rankings, rows, strata
from cf.evaluation.predictions import COLUMNS
from cf.reporting import gallery
from cf.reporting.save import save
from cf.training import history
from stages import paths, report, runs
from stages.stage import stage


@stage
def main() -> None:
    """Draw every figure, put all on one page, and add them to the models' runs."""
    settings = params.load(paths.PARAMS, "tracking", params.Tracking)
    facts = tables.read_facts(paths.PROVENANCE, Provenance)
    trainings = runs.read(tables.read_facts(paths.SPLIT_FACTS, SplitFacts))
    ratings = tables.read_columns(paths.RATINGS, "user_id", "item_id", "rating")
    items = tables.read_columns(paths.ITEMS, "item_id", "title")
    predictions = tables.read_columns(paths.PREDICTIONS, *COLUMNS, *trainings)
    groups = rows.read(paths.STRATA, strata.COLUMNS)
    ranked = rankings.read(paths.RANKING)
    part = tables.read_json(paths.DATA)["part"]
    histories = {name: history.read(paths.HISTORY / f"{name}.csv") for name in trainings}

    with tracking.recorder(settings) as recorder:
        for name, figure in (
            *gallery.data_figures(facts, ratings, items),
            *gallery.model_figures(facts, predictions, groups, histories, part),
            *gallery.ranking_figures(facts, ranked, list(trainings)),
        ):
            save(figure, paths.FIGURES / f"{name}.png")
            save(figure, paths.VECTOR_FIGURES / f"{name}.svg")
        report.write(list(trainings), ranked)
        tables.write_json(paths.DRAWN, {name: made.id for name, made in trainings.items()})
        for name, training in trainings.items():
            if training.tags.get("dvc_experiment") == os.environ.get("DVC_EXP_NAME"):
                recorder.add(training, {}, runs.figures(name, training))


if __name__ == "__main__":
    main()
