"""How MLflow's page of runs shows this project: which columns, which charts, in which order."""

import json
from typing import Any

KEY = "cf"
TAG = f"mlflow.sharedViewState.{KEY}"

Json = dict[str, Any]


def _section(name: str, columns: int, **more: int) -> Json:
    # reordered: metrics of later versions come last instead of in alphabetical order
    section = {"display": True, "columns": columns, **more, "isReordered": True}
    return {"uuid": name, "name": name, **section}


def _card(kind: str, name: str, section: str, **more: Any) -> Json:
    card = {"uuid": name, "type": kind, "displayName": name, "metricSectionId": section}
    return {**card, "runsCountToCompare": 10, "isGenerated": True, "deleted": False, **more}


def _lines(metric: str, section: str) -> Json:
    return _card(
        "LINE",
        metric,
        section,
        metricKey=metric,
        lineSmoothness=0,
        scaleType="linear",
        xAxisScaleType="log",  # 200 sweeps of one model beside 3 epochs of another
        xAxisKey="step",
        yAxisKey="metric",
        yAxisExpressions=[],
        range={},
        useGlobalXaxisKey=True,
        useGlobalLineSmoothing=True,
    )


def _bars(metric: str, section: str, shown: bool = True) -> Json:
    return _card("BAR", metric, section, metricKey=metric, deleted=not shown)


def _images(name: str, section: str) -> Json:
    return _card("IMAGE", name, section, imageKeys=[name], step=0, showRunParams=False)


# The page of runs as MLflow's own "Fraction" would keep it: a tag of the experiment, which a link
# names. A metric that it does not mention gets a chart as well, after these.
COLUMNS = {
    "params.`model`": 140,
    "metrics.`rmse`": 90,  # wide enough for its six decimals
    "attributes.`Description`": 320,
    "attributes.`Dataset`": 210,
}
HIDDEN = (  # counts, bounds, and what few models have: in the table if asked for
    *("rmse_low", "rmse_high", "n", "n_cold"),
    *("nll", "coverage_50", "coverage_80", "coverage_95"),
)
LOSS, PREDICTIONS, METRICS = "loss", "predictions", "Model metrics"
VIEW = {
    "orderByKey": "metrics.`rmse`",
    "orderByAsc": True,
    "selectedColumns": list(COLUMNS),
    "columnOrder": list(COLUMNS),
    "columnWidths": COLUMNS,
    "compareRunSections": [
        _section(LOSS, columns=2),
        _section(PREDICTIONS, columns=1, cardHeight=760),  # px: two rows of pictures
        _section(METRICS, columns=3),
    ],
    "compareRunCharts": [
        *(_lines(metric, LOSS) for metric in ("loss/valid", "loss/train")),
        _images("predicted_vs_observed", PREDICTIONS),
        *(_bars(metric, METRICS) for metric in ("rmse", "rmse_warm", "rmse_cold", "mae", "mse")),
        *(_lines(metric, METRICS) for metric in ("learning_rate", "seconds_per_epoch")),
        *(_bars(metric, METRICS, shown=False) for metric in HIDDEN),
    ],
}
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development", TAG: json.dumps(VIEW)}
