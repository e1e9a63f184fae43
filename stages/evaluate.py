"""Score every model and the baselines on the held-out rows: models to reports."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from rich.console import Console

from cf.baselines.bias import Bias, GlobalMean
from cf.core import config, io, paths
from cf.core.errors import InputError, exit_on_input_error
from cf.core.names import IDS, KEYS, SD
from cf.core.progress import working
from cf.core.ratings import Provenance, Ratings, RatingStats, SplitInfo, Stars, is_cold
from cf.distributed.stream import rating_stats
from cf.evaluation import bootstrap, calibration, champion, leaderboard, metrics, strata
from cf.reporting.tables import leaderboard_table
from cf.tracking.record import read_all, recording

MOST = 1e12  # of a predicted rating: the squares of larger ones are no use


@exit_on_input_error
@working("evaluate: scoring the models")
def main() -> None:
    """Write predictions, metrics and tables, and add the metrics to the models' runs."""
    params = config.load(paths.PARAMS, "evaluate", config.Evaluate)
    settings = config.load(paths.PARAMS, "tracking", config.Tracking)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    provenance.require_ratings("evaluate")
    split = io.read_dataclass(paths.SPLIT_INFO, SplitInfo)
    n_leaked = split.n_leaked_in(params.part)
    records = read_all(split)
    for name in set(config.trained_models(paths.PARAMS)) - set(records):
        print(
            f"WARNING: {name} is not scored: params.yaml has it, but no stage of dvc.yaml made it."
        )
    n_users, n_items = sizes = provenance.n_users, provenance.n_items
    in_memory = config.ray(paths.PARAMS) is None  # Ray is for ratings that may not fit
    train = rating_stats(paths.TRAIN, *sizes, in_memory)
    held_out = Ratings.read(paths.SPLIT_FILES[params.part], provenance)
    user_ids = io.read_parquet(paths.ENCODED_USERS, ["user_id"], n_rows=n_users)["user_id"]
    columns = ["item_id", "title", "genres"]
    items = io.read_parquet(paths.ENCODED_ITEMS, columns, n_rows=n_items)

    with recording(settings) as recorder:
        predicted, sds, without_times = predict(records, train, held_out, sizes, params.damping)
        observed, users = held_out.values, held_out.users
        counts = train.user_counts(n_users), train.item_counts(n_items)
        cold = is_cold(held_out, *counts)
        scores = {name: metrics.summary(mean, observed, cold) for name, mean in predicted.items()}
        for name, sd in sds.items():
            scores[name] |= calibration.summary(predicted[name], sd, observed)
        for name, mean in without_times.items():
            scores[name]["rmse_no_time"] = metrics.rmse(mean, observed)
        resampled = bootstrap.resample(predicted, observed, users, params.n_resamples, params.seed)
        notebook = leaderboard.is_notebooks(provenance, split)
        board = leaderboard.build(
            scores, resampled, provenance.dataset, notebook, params.part, n_leaked
        )
        scores = io.round_floats(scores)
        run_metrics = leaderboard.run_metrics(scores, board)
        rmse = {name: scores[name]["rmse"] for name in records}
        best = champion.candidate(rmse, params.part, split.method)
        for name, record in records.items():
            record.metrics.update(run_metrics[name])
            record.candidate = name == best
            recorder.upsert(record)

        keys = dict(zip(KEYS, (held_out.rows, users, held_out.items, observed), strict=True))
        rows = items.iloc[held_out.items]
        ids = user_ids.iloc[users].array, rows["item_id"].array, rows["title"].array
        keys |= dict(zip(IDS, ids, strict=True))
        of_sd = {f"{name}{SD}": sd for name, sd in sds.items()}
        predictions = pd.DataFrame({**keys, **predicted, **of_sd})
        groups = strata.stratify(held_out, *counts, items["genres"], provenance.rating_range)
        io.write_parquet(paths.PREDICTIONS, predictions)
        io.write_csv(paths.LEADERBOARD, board)
        io.write_csv(paths.STRATA, strata.score(groups, predicted, observed, users))
        io.write_csv(paths.COVERAGE, calibration.coverage_curves(predicted, sds, observed))
        io.write_csv(paths.DECILES, calibration.error_by_decile(predicted, sds, observed, users))
        io.write_json(paths.METRICS, scores)
        data = {"dataset": provenance.dataset, "part": params.part, "unit": provenance.unit}
        data |= {key: getattr(provenance, key) for key in ("n_ratings", "n_users", "n_items")}
        io.write_json(paths.DATA, data)
        io.write_json(paths.EVALUATED_RUNS, {name: record.id for name, record in records.items()})
    Console().print(leaderboard_table(board, provenance.unit))


def predict(
    models: Iterable[str],
    train: RatingStats,
    held_out: Ratings,
    sizes: tuple[int, int],
    damping: float,
) -> tuple[dict[str, Stars], dict[str, Stars], dict[str, Stars]]:
    """The predicted ratings of each model and baseline, and the standard deviations of some.

    And what models that use times predict without: so they are asked for recommendations.
    """
    from cf.models import base  # late: torch is imported while the recorder imports MLflow
    from cf.training import checkpoint

    pairs = held_out.users, held_out.items
    predicted = {
        "global_mean": GlobalMean().fit(train, *sizes).predict(*pairs),
        "bias": Bias(damping).fit(train, *sizes).predict(*pairs),
    }
    sds, without_times = {}, {}
    for name in models:
        model = checkpoint.load(paths.MODELS / name)
        predicted[name], sd = base.predict_mean_and_std(model, *pairs, held_out.timestamps)
        if sd is not None:
            sds[name] = sd
        if model.takes_time and held_out.timestamps is not None:
            without_times[name] = base.predict(model, *pairs)
        for values in (predicted[name], sds.get(name), without_times.get(name)):
            if values is not None and not (np.abs(values) < MOST).all():
                is_sampled = config.is_sampled(paths.PARAMS, f"train_{name}")
                hint = "set user_noise to false" if is_sampled else "lower the learning_rate"
                raise InputError(
                    f"{paths.MODELS / name}: predicts what is no rating (infinite, or above "
                    f"{MOST:g}). Its training has diverged: {hint} in train_{name} of "
                    "params.yaml, then run `dvc repro`."
                )
    return predicted, sds, without_times


if __name__ == "__main__":
    main()
