"""Finished experiments, as DVC tells of them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """What an experiment was run with, and what came of it.

    Attributes:
        name: the user's or DVC's.
        rev: of git, where its files are kept.
        params: the sections of params.yaml.
        metrics: the content of reports/metrics.json.
    """

    name: str
    rev: str
    params: dict[str, Any]
    metrics: dict[str, dict[str, float]]


def finished(shown: list[dict[str, Any]], prefix: str) -> list[Experiment]:
    """The finished experiments whose names begin with `prefix` and a hyphen.

    Args:
        shown: what `dvc exp show --json` says.
    """
    experiments = []
    for baseline in shown:
        for experiment in baseline.get("experiments") or []:
            for rev in experiment["revs"]:
                data = rev.get("data") or {}
                metrics = data.get("metrics", {}).get("reports/metrics.json", {}).get("data")
                params = data.get("params", {}).get("params.yaml", {}).get("data")
                name = rev.get("name") or ""
                if name.startswith(f"{prefix}-") and metrics and params:
                    experiments.append(Experiment(name, rev["rev"], params, metrics))
    return experiments
