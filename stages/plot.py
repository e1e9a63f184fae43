"""Results to figures and a page: reports/, and the data behind it, to reports/figures,
reports/svg and reports/index.html.
"""

import os
from collections.abc import Mapping
from typing import Any

import matplotlib

from cf.core import config, git, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.names import AT_K, KEYS
from cf.core.progress import working
from cf.core.ratings import SUBSET_LABELS, Provenance, SplitInfo
from cf.distributed.stream import rating_stats
from cf.evaluation import leaderboard
from cf.reporting import gallery, html
from cf.reporting.gallery import Results
from cf.reporting.html import Commit
from cf.reporting.style import save
from cf.tracking.record import RunRecord, read_all, recording, set_figures

TEXT = dict.fromkeys(("model", "label", "dataset", "part", "stratum"), "str")
"""Columns of tables that are text, whatever it looks like."""


@exit_on_input_error
@working("plot: drawing")
def main() -> None:
    """Draw every figure, put all on one page, and add them to the models' runs."""
    matplotlib.use("agg")  # no window, whatever the machine has
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    trainings = read_all(split)
    with recording(settings) as recorder:
        results = read_results(trainings)
        for name, figure in gallery.draw(results):
            save(figure, paths.FIGURES / f"{name}.png")
            save(figure, paths.VECTOR_FIGURES / f"{name}.svg")
        write_page(results, split)
        io.write_json(paths.DRAWN_RUNS, {name: made.id for name, made in trainings.items()})
        set_figures(trainings)
        for training in trainings.values():
            if training.tags.get("dvc_experiment") == os.environ.get("DVC_EXP_NAME"):
                recorder.upsert(training)


def read_results(trainings: Mapping[str, RunRecord]) -> Results:
    """All that the figures are drawn from."""
    history = ["epoch", "train_loss", "valid_loss"]
    board = io.read_csv(paths.LEADERBOARD, list(leaderboard.DTYPES), TEXT)
    with io.reading(paths.LEADERBOARD):
        if board["rmse"].isna().any() or board.empty:
            raise ValueError("a model has no rmse")
    coverage = io.read_csv(paths.COVERAGE, ["model", "level", "coverage"], TEXT)
    with io.reading(paths.COVERAGE):
        if unknown := set(coverage["model"]) - set(board["model"]):
            raise ValueError(f"{paths.LEADERBOARD} has no model {min(unknown)!r}")
    needed = ["model", "behind_low", "behind_high", "n_users", "n_left_out", "part"]
    ranked = io.read_csv(paths.RANKING, needed, TEXT)
    with io.reading(paths.RANKING):
        depths = {name.rpartition("_at_")[2] for name in ranked.columns if "_at_" in name} or {"k"}
        io.with_columns(ranked, [f"{metric}_at_{depth}" for depth in depths for metric in AT_K])
    predictions = io.read_parquet(paths.PREDICTIONS, [*KEYS, *trainings])
    with io.reading(paths.PREDICTIONS):
        if unknown := set(board["model"]) - set(predictions):
            raise ValueError(f"no column {min(unknown)!r}, a model of {paths.LEADERBOARD}")
    drawn = [f"{name}{end}" for name in ("rmse", "to_best") for end in ("", "_low", "_high")]
    strata = io.read_csv(paths.STRATA, ["stratum", "label", "model", "n", *drawn], TEXT)
    with io.reading(paths.STRATA):
        for name, rows in strata.groupby("stratum"):
            if (rows.groupby("model").size() != rows["label"].nunique()).any():
                raise ValueError(f"not every model has a row for each label of {name}")
    source = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    titled, sizes = ["item_id", "title"], (source.n_users, source.n_items)
    in_memory = config.ray(paths.PARAMS) is None  # Ray is for ratings that may not fit
    return Results(
        provenance=source,
        ratings=rating_stats(paths.ENCODED_RATINGS, *sizes, in_memory),
        users=io.read_parquet(paths.ENCODED_USERS, ["user_id"], only=True, n_rows=sizes[0]),
        items=io.read_parquet(paths.ENCODED_ITEMS, titled, only=True, n_rows=sizes[1]),
        part=read_data()["part"],
        predictions=predictions,
        histories={m: io.read_csv(paths.HISTORY / f"{m}.csv", history, float) for m in trainings},
        burn_in={name: made.parameters.get("burn_in", 0) for name, made in trainings.items()},
        leaderboard=board,
        strata=strata,
        ranking=ranked,
        coverage=coverage,
        deciles=io.read_csv(paths.DECILES, ["model", "predicted_sd", *drawn[:3]], TEXT),
    )


def read_data() -> dict[str, Any]:
    """What the results are of: the data set, the part of the split, and sizes."""
    data: dict[str, Any] = io.read_json(paths.DATA, dict[str, Any])
    with io.reading(paths.DATA):
        if data["part"] not in SUBSET_LABELS:
            raise ValueError(f"part is {data['part']}")
    return data


def write_page(results: Results, split: SplitInfo) -> None:
    """Write reports/index.html."""
    head = git.head_commit()
    before = map(git.read_at_head, (paths.METRICS, paths.DATA, paths.PARAMS))
    page = html.render(
        results,
        metrics=io.read_json(paths.METRICS, dict[str, dict[str, float | None]]),
        data=read_data(),
        params=config.sections(paths.PARAMS),
        split=split,
        figures={path.stem: path.read_bytes() for path in paths.VECTOR_FIGURES.glob("*.svg")},
        commit=Commit(*head, *before) if head else None,
    )
    with io.atomic_write(paths.REPORT) as tmp_path:
        tmp_path.write_text(page, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
