"""Results to figures and a page: reports/, and the data behind it, to reports/figures,
reports/svg and reports/index.html.
"""

import os

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.provenance import Provenance, SplitInfo
from cf.evaluation import rankings, rows, strata
from cf.evaluation.predictions import COLUMNS
from cf.reporting import gallery
from cf.reporting.save import save
from cf.tracking import record as records
from cf.training import history
from stages import report


@exit_on_input_error
def main() -> None:
    """Draw every figure, put all on one page, and add them to the models' runs."""
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    facts = io.read_dataclass(paths.PROVENANCE, Provenance)
    trainings = records.read_all(io.read_dataclass(paths.SPLIT_INFO, SplitInfo))
    ratings = io.read_parquet(paths.RATINGS, ["user_id", "item_id", "rating"])
    items = io.read_parquet(paths.ITEMS, ["item_id", "title"])
    predictions = io.read_parquet(paths.PREDICTIONS, [*COLUMNS, *trainings])
    ratings, items, predictions = (
        {name: frame[name].to_numpy() for name in frame} for frame in (ratings, items, predictions)
    )
    groups = rows.read(paths.STRATA, strata.COLUMNS)
    ranked = rankings.read(paths.RANKING)
    part = io.read_json(paths.DATA)["part"]
    histories = {name: history.read(paths.HISTORY / f"{name}.csv") for name in trainings}

    with records.recording(settings) as recorder:
        for name, figure in (
            *gallery.data_figures(facts, ratings, items),
            *gallery.model_figures(facts, predictions, groups, histories, part),
            *gallery.ranking_figures(facts, ranked, list(trainings)),
        ):
            save(figure, paths.FIGURES / f"{name}.png")
            save(figure, paths.VECTOR_FIGURES / f"{name}.svg")
        report.write(list(trainings), ranked)
        io.write_json(paths.DRAWN_RUNS, {name: made.id for name, made in trainings.items()})
        records.set_figures(trainings)
        for training in trainings.values():
            if training.tags.get("dvc_experiment") == os.environ.get("DVC_EXP_NAME"):
                recorder.upsert(training)


if __name__ == "__main__":
    main()
