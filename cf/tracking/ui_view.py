"""How MLflow's page of runs shows this project: which columns, which charts, in which order."""

import json
from typing import Any

KEY = "cf"
TAG = f"mlflow.sharedViewState.{KEY}"

Json = dict[str, Any]


def _chart(metric: str, section: str, kind: str = "BAR", shown: bool = True) -> Json:
    line = {
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "xAxisKey": "step",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
    return {
        "uuid": metric,
        "type": kind,
        "metricKey": metric,
        "displayName": metric,
        "metricSectionId": section,
        "runsCountToCompare": 10,
        "isGenerated": True,
        "deleted": not shown,
        **(line if kind == "LINE" else {}),
    }


def _section(name: str, columns: int) -> Json:
    # reordered: metrics of later versions come last instead of in alphabetical order
    return {"uuid": name, "name": name, "columns": columns, "display": True, "isReordered": True}


# The page of runs as MLflow's own "Fraction" would keep it: a tag of the experiment, which a link
# names. A metric that it does not mention gets a chart as well, after these.
COLUMNS = {
    "params.`model`": 90,
    "metrics.`rmse`": 80,
    "attributes.`Description`": 320,
    "attributes.`Dataset`": 210,
}
OTHERS = "Model metrics"
HIDDEN = ("rmse_low", "rmse_high", "n", "n_cold")
VIEW = {
    "orderByKey": "metrics.`rmse`",
    "orderByAsc": True,
    "selectedColumns": list(COLUMNS),
    "columnOrder": list(COLUMNS),
    "columnWidths": COLUMNS,
    "compareRunSections": [_section("loss", 2), _section(OTHERS, 3)],
    "compareRunCharts": [
        *(_chart(metric, "loss", "LINE") for metric in ("loss/valid", "loss/train")),
        *(_chart(metric, OTHERS) for metric in ("rmse", "rmse_warm", "rmse_cold", "mae", "mse")),
        *(_chart(metric, OTHERS, "LINE") for metric in ("learning_rate", "seconds_per_epoch")),
        *(_chart(metric, OTHERS, shown=False) for metric in HIDDEN),
    ],
}
EXPERIMENT_TAGS = {
    "mlflow.experimentKind": "custom_model_development",
    TAG: json.dumps(VIEW),
}
