"""Results to one page of HTML: nothing is read or saved here, but for the page's template."""

import re
import xml.etree.ElementTree as ET
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cf.core.provenance import SUBSET_LABELS, Provenance, SplitInfo
from cf.evaluation import calibration
from cf.evaluation.leaderboard import NOTEBOOKS_BEST
from cf.evaluation.rows import Row

Scores = Mapping[str, Mapping[str, Any]]

DASH = "\N{EN DASH}"
MODELS_A_TABLE = 6
"""More models go on in a further table, so that none is wider than a sheet of paper."""

KINDS = {
    "loss_curves": (
        "Loss by epoch",
        "Mean squared error after each epoch: solid on the validation rows, dashed on the training "
        "rows. Where the dashed line falls and the solid one does not, a model only memorises.",
    ),
    "strata_to_best": (
        "Who wins where",
        "What each model's RMSE has more than that of the best one, in groups of ratings: below "
        "the line it is better there. Both meet the same users: a bar that misses the line tells "
        "of a difference; among so many groups, some miss it by chance.",
    ),
    "strata_rmse": (
        "Error by group",
        "How far each model is off in the same groups. By observed rating, every model that "
        "hedges is worst at the ends.",
    ),
    "calibration": (
        "What error bars are worth",
        "Left: of 100 intervals of 80%, 80 should hold the rating; the line tells how many did, at "
        "every level. Right: the ratings in tenths, from the smallest error bar to the largest: "
        "where points rise along the diagonal, a model knows which of its predictions are poor.",
    ),
    "ranking": (
        "Lists of recommended items",
        "What the lists that each model recommends are worth: the longer a bar, the more of it. "
        "Bars of different metrics do not compare.",
    ),
    "predicted": (
        "Predicted against observed",
        "The darker or, on a dark page, the brighter a hexagon, the more ratings are in it. A "
        "model that is always right has them all on the dashed diagonal.",
    ),
    "activity": (
        "Users and items",
        "The number of ratings of each user and of each item, most active first. A line that "
        "falls steeply says that few of them hold most of the ratings.",
    ),
    "crosstab": (
        "Who rated what",
        "The most rated items and the most active users. A blank cell is a rating that could be "
        "predicted.",
    ),
}
"""Heading and explanation of each kind of figure, in the order of the page."""

RESULTING = re.compile(r"(ingest|split|evaluate|rank|train_\w+)\.")
"""The parameters that results depend on."""


@dataclass(frozen=True)
class Commit:
    """What git keeps of earlier results.

    Attributes:
        sha: of the commit.
        subject: the first line of its message.
        metrics: its reports/metrics.json; None where it has none that can be read.
        sections: its params.yaml; likewise.
    """

    sha: str
    subject: str
    metrics: Scores | None
    sections: Mapping[str, Any] | None


@dataclass(frozen=True)
class Change:
    """A model's RMSE at the last commit and now, in stars; None where there was or is none."""

    model: str
    before: float | None
    now: float | None

    @property
    def difference(self) -> float | None:
        """Now minus before."""
        return None if self.before is None or self.now is None else self.now - self.before

    @property
    def verdict(self) -> str:
        """What the difference means, in a word."""
        if self.difference is None:
            return "new" if self.before is None else "removed"
        if abs(self.difference) < 0.00005:  # shown as 0.0000
            return "as good"
        return "better" if self.difference < 0 else "worse"


@dataclass(frozen=True)
class Drawing:
    """A figure as the page shows it: `width` and `height` in CSS pixels."""

    title: str
    width: int
    height: int
    uri: str


def render(
    rows: Sequence[Row],
    scores: Scores,
    sections: Mapping[str, Any],
    trained: Sequence[str],
    provenance: Provenance,
    split: SplitInfo,
    figures: Mapping[str, bytes],
    commit: Commit | None,
    ranked: Sequence[Row] = (),
) -> str:
    """The page, which needs no other file and no network.

    Args:
        rows: the leaderboard's, one at least.
        scores: the metrics of the same models.
        sections: the sections of params.yaml.
        trained: the models that are no baselines.
        figures: SVG by file name without suffix; of one model: predicted_<model>.
        commit: what to compare with; None where there is no git or no commit.
        ranked: the rows of reports/ranking.csv.
    """
    order = [row["model"] for row in rows]
    differing, common = compare_parameters(
        {name: flat(sections.get(f"train_{name}")) for name in order if name in trained}
    )
    return (
        _environment()
        .get_template("html.html.jinja")
        .render(
            rows=rows,
            scale=_scale(rows),
            rated=SUBSET_LABELS[rows[0]["part"]],
            comparable=any(row["notebook_mse"] is not None for row in rows),
            notebooks_best=NOTEBOOKS_BEST,
            barred=[row for row in rows if row["nll"] is not None],
            coverage=calibration.COVERAGE,
            trained=trained,
            baseline=next((row for row in rows if row["model"] not in trained), None),
            provenance=provenance,
            fallback=PurePath(provenance.requested).name != provenance.dataset,
            split=split,
            parts=SUBSET_LABELS,
            commit=commit,
            ranked=ranked,
            changes=changes(commit.metrics, scores, order) if commit and commit.metrics else None,
            changed_parameters=changed_parameters(commit.sections, sections)
            if commit and commit.sections
            else [],
            groups=list(_groups(figures, order)),
            models=[name for name in order if name in trained],
            models_a_table=MODELS_A_TABLE,
            differing=differing,
            common=common,
        )
    )


def changes(before: Scores, now: Scores, order: Sequence[str]) -> list[Change] | None:
    """The models whose metrics are no longer the same, in `order`, then those that are gone.

    Returns:
        None where the two are not of the same data set and number of rows, and do not compare.
    """
    if _rows_of(before) != _rows_of(now):
        return None
    names = [*order, *(name for name in before if name not in now)]
    return [
        Change(name, _rmse(before.get(name)), _rmse(now.get(name)))
        for name in names
        if before.get(name) != now.get(name)
    ]


def changed_parameters(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """(key, value before, value now) of the parameters that results depend on and that differ.

    Those of a model that is new or gone are left out.
    """
    old, new = (
        flat(
            {section: values[section] for section in values if section in before and section in now}
        )
        for values in (before, now)
    )
    return [
        (key, old.get(key, DASH), new.get(key, DASH))
        for key in dict.fromkeys([*new, *old])
        if old.get(key) != new.get(key) and RESULTING.match(key)
    ]


def compare_parameters(
    parameters: Mapping[str, Mapping[str, str]],
) -> tuple[dict[str, dict[str, tuple[str, bool]]], dict[str, str]]:
    """The parameters in which models differ, and those that all share.

    Args:
        parameters: of each model, by name, by key.

    Returns:
        By key: each model's value and whether it stands out, being rarer than another; and the
        shared values.
    """
    differing, common = {}, {}
    keys = list(dict.fromkeys(key for values in parameters.values() for key in values))
    parts = [key.partition(".")[0] for key in keys]
    for key in sorted(keys, key=lambda key: parts.index(key.partition(".")[0])):
        row = {model: values.get(key, DASH) for model, values in parameters.items()}
        counts = Counter(row.values())
        if len(counts) == 1:
            common[key] = next(iter(counts))
        else:
            most = max(counts.values())
            differing[key] = {
                model: (value, value != DASH and counts[value] < most)
                for model, value in row.items()
            }
    return differing, common


def flat(section: Any, prefix: str = "") -> dict[str, str]:
    """The values of a section as text, by their dotted keys; none where it is no mapping."""
    found: dict[str, str] = {}
    for key, value in section.items() if isinstance(section, Mapping) else ():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: _text(value)}
    return found


def _text(value: Any) -> str:
    """A value as params.yaml has it: 0.00001, not 1e-05."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else str(value)


def _rows_of(scores: Scores) -> tuple[Any, ...]:
    first = next(iter(scores.values()), {})
    return tuple(first.get(key) for key in ("dataset", "part", "n", "n_cold"))


def _rmse(scores: Mapping[str, Any] | None) -> float | None:
    rmse = (scores or {}).get("rmse")
    return rmse if isinstance(rmse, float) else None


def _scale(rows: Sequence[Row]) -> tuple[float, float]:
    """The ends of the axis of intervals, in stars: a model that is far off does not widen it."""
    low, high = min(row["rmse_low"] for row in rows), max(row["rmse_high"] for row in rows)
    return low, max(min(high, 1.5 * rows[0]["rmse_high"]), low + 1e-6)


def _groups(
    figures: Mapping[str, bytes], order: Sequence[str]
) -> Iterator[tuple[str, str, list[Drawing]]]:
    """Heading, explanation and figures of each kind; those of models in `order`."""
    waiting = dict(figures)
    for kind, (heading, words) in KINDS.items():
        names = [kind, *(f"{kind}_{model}" for model in order)]
        drawings = [_drawing(name, waiting.pop(name)) for name in names if name in waiting]
        if drawings:
            yield heading, words, drawings
    for name, svg in waiting.items():
        yield name.replace("_", " ").capitalize(), "", [_drawing(name, svg)]


def _drawing(name: str, svg: bytes) -> Drawing:
    """The figure as an image of its own: its ids are apart from others', its scripts do not run."""
    root = ET.fromstring(svg)
    _, _, width, height = (float(number) for number in root.attrib["viewBox"].split())
    title = root.findtext("{http://www.w3.org/2000/svg}title") or name
    uri = f"data:image/svg+xml;base64,{b64encode(svg).decode()}"
    return Drawing(title, round(width * 4 / 3), round(height * 4 / 3), uri)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = lambda value: DASH if value is None else f"{value:.4f}"
    environment.filters["short"] = lambda value: f"{value:.3f}"
    environment.filters["signed"] = _signed
    environment.filters["percent"] = lambda value: f"{value:.1%}"
    environment.filters["count"] = lambda value: f"{value:,}" if isinstance(value, int) else "?"
    return environment


def _signed(value: float | None, decimals: int = 4) -> str:
    if value is None:
        return DASH
    text = f"{abs(value):.{decimals}f}"
    sign = "" if float(text) == 0 else "\N{MINUS SIGN}" if value < 0 else "+"
    return sign + text
