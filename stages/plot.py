"""Results to figures: reports/, and the data behind it, to reports/figures and reports/svg."""

from cf.data import tables
from cf.data.tables import Provenance, SplitFacts
from cf.evaluation.predictions import COLUMNS
from cf.reporting import gallery
from cf.reporting.save import save
from cf.training import history
from stages import paths, runs
from stages.stage import stage


@stage
def main() -> None:
    """Draw every figure of the report."""
    facts = tables.read_facts(paths.PROVENANCE, Provenance)
    trainings = runs.read(tables.read_facts(paths.SPLIT_FACTS, SplitFacts))
    ratings = tables.read_columns(paths.RATINGS, "user_id", "item_id", "rating")
    items = tables.read_columns(paths.ITEMS, "item_id", "title")
    predictions = tables.read_columns(paths.PREDICTIONS, *COLUMNS, *trainings)
    train_items = tables.read_columns(paths.TRAIN, "items")["items"]
    histories = {name: history.read(paths.HISTORY / f"{name}.csv") for name in trainings}

    for name, figure in (
        *gallery.data_figures(facts, ratings, items),
        *gallery.model_figures(facts, predictions, train_items, histories),
    ):
        save(figure, paths.FIGURES / f"{name}.png")
        save(figure, paths.VECTOR_FIGURES / f"{name}.svg")


if __name__ == "__main__":
    main()
