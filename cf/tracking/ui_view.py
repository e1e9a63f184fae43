"""How MLflow's page of runs shows this project: which columns, which charts, in which order."""

import json
from typing import Any

KEY = "cf"
TAG = f"mlflow.sharedViewState.{KEY}"

LOSS, PREDICTIONS, METRICS = "loss", "predictions", "Model metrics"


def _section(name: str, columns: int, **more: int) -> dict[str, Any]:
    # reordered: metrics of later versions come last instead of in alphabetical order
    section = {"display": True, "columns": columns, **more, "isReordered": True}
    return {"uuid": name, "name": name, **section}


def _card(kind: str, name: str, section: str, **more: Any) -> dict[str, Any]:
    card = {"uuid": name, "type": kind, "displayName": name, "metricSectionId": section}
    return {**card, "runsCountToCompare": 10, "isGenerated": True, "deleted": False, **more}


def _lines(section: str, *metrics: str) -> list[dict[str, Any]]:
    look = {
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisScaleType": "log",  # 200 sweeps of one model beside 3 epochs of another
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
    return [_card("LINE", metric, section, metricKey=metric, **look) for metric in metrics]


def _bars(*metrics: str, deleted: bool = False) -> list[dict[str, Any]]:
    return [_card("BAR", name, METRICS, metricKey=name, deleted=deleted) for name in metrics]


# The page of runs as MLflow's own "Fraction" would keep it: a tag of the experiment, which a link
# names. A metric that it does not mention gets a chart as well, after these.
COLUMNS = {
    "params.`model`": 140,
    "metrics.`rmse`": 90,  # wide enough for its six decimals
    "attributes.`Description`": 320,
    "attributes.`Dataset`": 210,
}
PICTURES = "predicted_vs_observed"
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
        *_lines(LOSS, "loss/valid", "loss/train"),
        _card("IMAGE", PICTURES, PREDICTIONS, imageKeys=[PICTURES], step=0, showRunParams=False),
        *_bars("rmse", "rmse_warm", "rmse_cold", "mae", "mse"),
        *_lines(METRICS, "learning_rate", "seconds_per_epoch"),
        # counts, bounds, and what few models have: in the table if asked for
        *_bars("rmse_low", "rmse_high", "n", "n_cold", deleted=True),
        *_bars("nll", "coverage_50", "coverage_80", "coverage_95", deleted=True),
    ],
}
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development", TAG: json.dumps(VIEW)}
