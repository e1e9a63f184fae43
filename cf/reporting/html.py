"""Results to one page of HTML: nothing is read or saved here, but for the page's template."""

import re
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cf.core.config_errors import format_float
from cf.core.io import round_floats
from cf.core.ratings import SUBSET_LABELS, SplitInfo
from cf.evaluation import calibration
from cf.evaluation.leaderboard import NOTEBOOKS_BEST
from cf.reporting.gallery import Results

Scores = Mapping[str, Mapping[str, Any]]

DASH = "\N{EN DASH}"
DECIMALS = 4  # metrics that agree to these are shown as equal
PIPELINE_PARAMS = re.compile(r"(ingest|split|evaluate|rank|train_\w+)\.")  # results depend on them


@dataclass(frozen=True)
class Commit:
    """The results that a git commit has; empty where it has no such file that can be read."""

    sha: str
    subject: str  # the first line of its message
    metrics: Mapping[str, Any]  # reports/metrics.json
    data: Mapping[str, Any]  # reports/data.json
    params: Mapping[str, Any]  # params.yaml

    @property
    def is_readable(self) -> bool:
        """Whether its metrics have the shape of today's."""
        return {isinstance(scores, dict) for scores in self.metrics.values()} == {True}


def render(
    results: Results,
    metrics: Scores,
    data: Mapping[str, Any],
    params: Mapping[str, Any],
    split: SplitInfo,
    figures: Mapping[str, bytes],
    commit: Commit | None,
) -> str:
    """The page, which needs no other file and no network.

    Metrics and data are as in reports/<name>.json, `params` are the sections of params.yaml, and
    `figures` SVG by file name without suffix. The commit, None where there is none, is what to
    compare with.
    """
    leaderboard, ranking, provenance = results.leaderboard, results.ranking, results.provenance
    order = list(leaderboard["model"])
    models = [name for name in order if name in results.histories]
    differing, common = compare_params({m: flatten(params.get(f"train_{m}")) for m in models})
    hidden = {name for name in ("to_notebook", "notebook_rmse") if leaderboard[name].isna().all()}
    if order[0] == NOTEBOOKS_BEST:
        hidden.add("to_notebook")  # it is the difference to the best
    lows, highs = (
        leaderboard[f"rmse_{end}"].fillna(leaderboard["rmse"]) for end in ("low", "high")
    )
    low, high = lows.min(), min(highs.max(), 1.5 * highs.iloc[0])  # one far off does not widen it
    margin = max(0.04 * (high - low), 1e-6)  # for the dots
    template = _environment().get_template("html.html.jinja")
    return template.render(
        rows=leaderboard.astype(object).where(leaderboard.notna(), None).to_dict("records"),
        hidden=hidden,
        notebooks_best=NOTEBOOKS_BEST,
        scale=(low - margin, high + margin),
        coverage=calibration.COVERAGE,
        trained=results.histories,
        provenance=provenance,
        unit=provenance.unit,
        fallback=PurePath(provenance.requested).name != provenance.dataset,
        split=split,
        subset_labels=SUBSET_LABELS,
        commit=commit,
        ranked=ranking.astype(object).where(ranking.notna(), None).to_dict("records"),
        k="".join(ranking.columns.str.extract("ndcg_at_(.*)", expand=False).dropna()),
        changes=changes(commit, metrics, data, order) if commit else None,
        changed_params=changed_params(commit.params, params) if commit else [],
        figures=_images(figures, order),
        models=models,
        differing=differing,
        common=common,
    )


def changes(
    commit: Commit, metrics: Scores, data: Mapping[str, Any], order: Sequence[str]
) -> list[tuple[str, float | None, float | None, float | None, str]] | None:
    """The models whose metrics differ from the commit's, in `order`, then those that are gone.

    Of each: its name, its RMSE before and now (None where there was or is none), the
    difference and a verdict. None where the two are not about the same rows.
    """
    if not commit.is_readable or _about(commit.metrics, commit.data) != _about(metrics, data):
        return None
    before, found = commit.metrics, []
    for model in [*order, *(name for name in before if name not in metrics)]:
        if round_floats(before.get(model), DECIMALS) == round_floats(metrics.get(model), DECIMALS):
            continue
        old, new = (scores.get(model, {}).get("rmse") for scores in (before, metrics))
        difference = None if old is None or new is None else new - old
        if difference is None:
            verdict = "new" if old is None else "removed"
        elif round(difference, DECIMALS) == 0:
            verdict = "as good"
        else:
            verdict = "better" if difference < 0 else "worse"
        found.append((model, old, new, difference, verdict))
    return found


def changed_params(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(key, value before, value now) of the pipeline's parameters whose values differ.

    Models that are new or gone are left out.
    """
    shared = [section for section in now if section in before]
    old, new = (flatten({name: params[name] for name in shared}) for params in (before, now))
    return [
        (key, old.get(key, DASH), new.get(key, DASH))
        for key in dict.fromkeys([*new, *old])
        if old.get(key) != new.get(key) and PIPELINE_PARAMS.match(key)
    ]


def compare_params(
    params: Mapping[str, Mapping[str, str]],
) -> tuple[dict[str, dict[str, tuple[str, bool]]], dict[str, str]]:
    """The parameters in which models differ, and those that all share; `params` by model.

    By key: each model's value and whether it stands out, being rarer than another; shared values.
    """
    keys = list(dict.fromkeys(key for values in params.values() for key in values))
    # Keys of one subsection side by side, in the order of the first model that has it.
    parts = [key.partition(".")[0] for key in keys]
    differing, common = {}, {}
    for key in sorted(keys, key=lambda key: parts.index(key.partition(".")[0])):
        row = {model: values.get(key, DASH) for model, values in params.items()}
        counts = Counter(row.values())
        (most_common, most), *others = counts.most_common()
        if others:
            differing[key] = {m: (v, v != DASH and counts[v] < most) for m, v in row.items()}
        else:
            common[key] = most_common
    return differing, common


def flatten(section: Any) -> dict[str, str]:
    """The values of a section as text, by their dotted keys; empty where it is no mapping."""
    if not (isinstance(section, Mapping) and section):
        return {}
    flat = pd.json_normalize(dict(section)).to_dict("records")[0]
    return {str(key): param_text(value) for key, value in flat.items()}


def param_text(value: Any) -> str:
    """A value as params.yaml has it: 0.00001, not 1e-05."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(param_text, value))}]"
    return format_float(value) if isinstance(value, float) else str(value)


def _about(metrics: Scores, data: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the metrics are of: data set, part, rows and cold rows."""
    first: Mapping[str, Any] = next(iter(metrics.values()), {})
    return data.get("dataset"), data.get("part", "valid"), first.get("n"), first.get("n_cold")


def _images(figures: Mapping[str, bytes], order: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Images by kind: predicted, its models in `order`, or else the name of the figure.

    Each is one of its own, so that its ids do not clash and its scripts do not run.
    """
    places = {f"predicted_{model}": place for place, model in enumerate(order)}
    images: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(figures, key=lambda name: places.get(name, -1)):
        root = ET.fromstring(figures[name])
        _, _, *size = (round(float(pt) * 4 / 3) for pt in root.attrib["viewBox"].split())
        image = {
            "title": root.findtext("{http://www.w3.org/2000/svg}title") or name,
            "size": size,
            "uri": f"data:image/svg+xml;base64,{b64encode(figures[name]).decode()}",
        }
        images.setdefault("predicted" if name in places else name, []).append(image)
    return images


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "decimals": _decimals,
        "signed": _signed,
        "percent": "{:.1%}".format,
        "count": lambda value: f"{value:,}" if isinstance(value, int) else "?",
        "pair": lambda heading: (heading, ""),
        "interval": lambda level: (f"{level}% interval", "coverage"),
    }
    return environment


def _decimals(value: float | None, decimals: int = DECIMALS) -> str:
    return DASH if value is None else f"{value:.{decimals}f}"


def _signed(value: float | None, decimals: int = DECIMALS) -> str:
    if value is None:
        return DASH
    text = f"{value:+z.{decimals}f}"  # z: 0 for -0
    return text.lstrip("+") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")
