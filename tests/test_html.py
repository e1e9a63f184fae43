import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest

from cf.reporting import html
from cf.reporting.html import DASH, Commit, changed_params, changes, compare_params
from tests.results import (
    PROVENANCE,
    SPLIT,
    TRAINED,
    leaderboard,
    score,
    scores,
    sections,
    svg,
    toy_results,
)

DATA = {"dataset": "ml-latest-small", "part": "valid"}
HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>.csv"

PLAIN = str.maketrans(dict.fromkeys("\N{EN DASH}\N{MINUS SIGN}", "-") | {0x2019: "'"})


class Page(HTMLParser):
    """The tags of a page with their attributes, the text of its tables' rows, and its text.

    Dashes, minus signs and apostrophes are those of a keyboard.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag not in ("img", "input", "meta", "wbr"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        data = data.translate(PLAIN)
        if "style" not in self._inside:
            self.text += data
        if {"td", "th"} & set(self._inside):
            self.rows[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def row(self, first: str) -> list[str]:
        """The first row that begins with a cell of this text."""
        return next(row for row in self.rows if row[0].split() == first.split())


def render(**changed: Any) -> str:
    inputs: dict[str, Any] = {
        "metrics": scores(),
        "data": DATA,
        "params": sections(),
        "split": SPLIT,
        "figures": {"loss_curves": svg("Loss"), "predicted_dot": svg("Predicted: dot")},
        "commit": None,
    }
    inputs |= {name: changed.pop(name) for name in inputs if name in changed}
    found: dict[str, Any] = {
        "leaderboard": leaderboard(inputs["metrics"]),
        "ranking": pd.DataFrame({"model": []}),
        "histories": dict.fromkeys(changed.pop("trained", TRAINED)),
        "provenance": PROVENANCE,
    }
    return html.render(replace(toy_results(), **found | changed), **inputs)


def commit(metrics: Any, params: Any = None, data: Any = None) -> Commit:
    return Commit("0123456789abcdef", "Widen <dot>", metrics, data or DATA, params or {})


def test_every_model_the_best_first_beside_the_notebook() -> None:
    page = Page(render())
    assert [row[0].split()[0] for row in page.rows[:5]] == [
        *("Model", "dotbias", "bias", "embnet", "dot")
    ]
    assert page.rows[0][-1] == "Notebook RMSE"
    assert page.row("dotbias")[2:] == ["-", "0.6375", "0.8400", "0.9500", "0.8569"]
    assert page.row("bias baseline tied")[-1] == "-"
    assert "20,167 validation ratings, of which 813 are cold" in page.text
    assert "dotbias has the lowest RMSE: 0.8500 stars on" in page.text
    assert "0.0250 below the best baseline, bias" in page.text


def test_the_notebook_is_left_out_where_it_is_not_comparable() -> None:
    page = Page(render(leaderboard=leaderboard(scores(), notebook=False)))
    assert "0.8569" not in page.text
    assert len(page.row("dotbias")) == 6
    assert "The notebook's RMSE is not shown" in page.text


def test_the_page_says_how_rows_were_held_out_and_what_train_lacks() -> None:
    text = Page(render()).text
    assert "random, fraction 0.2, seed 42" in text
    assert "20,167, of which 813 are cold" in text
    assert "813 a new item" in text
    assert "0 new users and 741 new items" in text
    assert "eakage" not in text


def test_the_part_and_its_leakage_are_told() -> None:
    parts = {**SPLIT.parts, "test": {**SPLIT.parts["valid"], "n": 9_999, "n_leaked": 1_234}}
    leaking = replace(SPLIT, parts=parts)
    on_test = leaderboard(scores(), part="test", n_leaked=1_234)
    text = Page(render(leaderboard=on_test, split=leaking)).text
    assert "stars on 20,167 test ratings" in text
    assert "Leakage: 1,234 of the test ratings" in text
    assert "Test ratings9,999, of which 813 are cold" in text
    assert "Leakage:" not in Page(render(split=leaking)).text, "which is of valid"


def test_intervals_differences_and_ties() -> None:
    page = Page(render(leaderboard=leaderboard(scores(), spread=0.01)))
    assert [row[0].split() for row in page.rows[1:5]] == [
        *(["dotbias"], ["bias", "baseline", "tied"], ["embnet"], ["dot"])
    ]
    dot = leaderboard(scores()).set_index("model").loc["dot"]
    assert page.row("dot")[1:3] == [
        f"\n1.0625 {dot['rmse_low']:.3f} to {dot['rmse_high']:.3f}",
        f"+0.2125 +{dot['to_best_low']:.3f} to +{dot['to_best_high']:.3f}",
    ]
    assert "the best baseline, bias; the difference is not significant." in page.text
    page = Page(render(leaderboard=leaderboard(scores(), spread=0.0001)))
    assert "tied" not in page.row("bias baseline")[0]
    assert "the best baseline, bias (95% confidence interval 0.025 to 0.025)." in page.text


def test_where_another_model_is_best_the_notebooks_best_is_compared_with_too() -> None:
    assert "Behind dotbias" not in Page(render()).text
    page = Page(render(metrics={**scores(), "dot": score(0.5)}))
    assert page.rows[0][3] == "Behind dotbias 95% interval"
    assert [page.row(model)[2].split()[0] for model in ("dotbias", "dot")] == ["+0.3500", "-"]
    assert [page.row(model)[3].split()[0] for model in ("dotbias", "dot")] == ["-", "-0.3500"]


def test_without_intervals_no_heading_speaks_of_them_and_all_dots_are_whole() -> None:
    board = leaderboard(scores())
    board[[name for name in board if name.endswith(("_low", "_high"))]] = float("nan")
    text = render(leaderboard=board)
    assert "95% interval" not in Page(text).text
    assert "too few users for confidence intervals" in text
    places = [float(place) for place in re.findall(r'cx="([0-9.]+)%"', text)]
    assert 3 < min(places) < max(places) < 97


def test_whiskers_share_an_axis_that_a_failed_model_does_not_stretch() -> None:
    text = render(metrics={**scores(), "dot": score(1000.0)}, trained=TRAINED)
    places = [float(place) for place in re.findall(r'cx="([0-9.]+)%"', text)]
    assert 0 < places[0] < places[1] < places[2] < 100 < places[3]


def test_a_baseline_that_nothing_beats_and_no_baseline_at_all() -> None:
    assert "no trained model is better" in render(metrics={**scores(), "bias": score(0.1)})
    only = {name: values for name, values in scores().items() if name != "bias"}
    assert "on 20,167 validation ratings. Leaderboard" in Page(render(metrics=only)).text


@pytest.mark.parametrize("gone", [{"rmse_cold": None}, {}])
def test_without_cold_rows_a_dash(gone: dict[str, None]) -> None:
    dot = {key: value for key, value in score(2.0).items() if key != "rmse_cold"}
    page = Page(render(metrics={**scores(), "dot": {**dot, **gone}}))
    assert page.row("dot")[5] == "-"


def test_error_bars_of_the_models_that_have_them() -> None:
    assert "Calibration" not in Page(render()).text
    bars = {"nll": 1.25, "coverage_50": 0.509, "coverage_80": 0.816, "coverage_95": 0.9461}
    page = Page(render(metrics={**scores(), "dot": {**score(2.0), **bars}}))
    start = page.rows.index(
        ["Model", "NLL nats per rating"] + [f"{level}% interval coverage" for level in (50, 80, 95)]
    )
    assert page.rows[start + 1] == ["dot", "1.2500", "50.9%", "81.6%", "94.6%"]
    assert page.rows[start + 2][0] == "Parameter"
    assert "#calibration" in [link["href"] for link in page.all("a")]


def test_provenance_and_what_was_asked_for() -> None:
    page = Page(render())
    for fact in ("100,836", "610", "9,724", "0.5 to 5 stars", "80,669", "69" * 32, "b9" * 32):
        assert fact in page.text
    assert "could not be reached" not in page.text
    assert "Requested" not in page.text
    jokes = Page(render(provenance=replace(PROVENANCE, unit="<b>laughs %s")))
    for text in ("0.8500 <b>laughs %s on", "In <b>laughs %s, lowest", "0.5 to 5 <b>laughs %s"):
        assert text in jokes.text
    assert "stars" not in jokes.text
    fallback = replace(PROVENANCE, dataset="ml-100k", requested="ml-25m")
    assert "ml-25m, which could not be reached" in render(provenance=fallback)
    own = replace(PROVENANCE, dataset="mine.csv", requested="data/own/mine.csv", source="mine.csv")
    assert "could not be reached" not in render(provenance=own)
    assert "data/own/mine.csv" in render(provenance=own)


def test_better_worse_new_and_removed_models() -> None:
    now = scores()
    before = {name: now[name] for name in ("bias", "dotbias", "embnet")}
    before |= {"dotbias": score(0.9), "embnet": score(0.8), "gone": score(1.5)}
    page = Page(render(commit=commit(before)))
    end = page.rows[page.rows.index(["Model", "Before", "Now", "Change", "Verdict"]) + 1 :]
    assert end[:4] == [
        ["dotbias", "0.9000", "0.8500", "-0.0500", "better"],
        ["embnet", "0.8000", "0.8799", "+0.0799", "worse"],
        ["dot", "-", "1.0625", "-", "new"],
        ["gone", "1.5000", "-", "-", "removed"],
    ]
    assert "Unchanged: bias." in page.text
    assert "0123456789 (“Widen <dot>”)" in page.text
    assert ">\N{MINUS SIGN}0.0500</td>" in render(commit=commit(before))


def test_noise_is_no_change_and_a_change_elsewhere_is_as_good() -> None:
    noise = {**scores(), "dot": {**score(1.062512), "mae": 0.796901}}
    assert changes(commit(noise), scores(), DATA, ["dot"]) == []
    assert "Nothing changed" in render(commit=commit(noise))
    elsewhere = {**scores(), "dot": {**scores()["dot"], "mae": 0.5}}
    assert '<td>0.0000</td><td class="as good">as good</td>' in render(commit=commit(elsewhere))


def test_nothing_changed() -> None:
    page = Page(render(commit=commit(scores(), sections())))
    assert "Nothing changed: all metrics equal those of the last commit, 0123456789" in page.text
    assert "Verdict" not in page.text


def test_other_validation_rows_are_not_compared() -> None:
    before = commit({"dot": {**score(1.0), "n": 20_000}}, data={"dataset": "ml-100k"})
    assert changes(before, scores(), DATA, ["dot"]) is None
    other_part = commit(scores(), data={**DATA, "part": "test"})
    assert changes(other_part, scores(), DATA, ["dot"]) is None
    page = Page(render(commit=before))
    assert "cannot be compared with those of the last commit" in page.text
    assert "20,000 of ml-100k, of which 813 are cold" in page.text
    assert "Verdict" not in page.text


@pytest.mark.parametrize("before", [{"dot": {}}, {"dot": {"rmse": "much", "n": "many"}}])
def test_metrics_of_another_shape_do_no_harm(before: dict[str, Any]) -> None:
    assert "cannot be compared" in render(commit=commit(before))


def test_no_commit_and_a_commit_without_metrics_are_said() -> None:
    assert "this is no git repository" in render(commit=None)
    page = Page(render(commit=commit({})))
    assert "0123456789 (“Widen <dot>”), has no reports/metrics.json" in page.text


def test_parameters_that_are_not_those_of_the_commit() -> None:
    before = sections()
    before["train_dot"]["optimizer"]["weight_decay"] = 0.1
    before["tracking"]["experiment"] = "other"
    before["train_old"] = {"seed": 3}
    del before["split"]["seed"], before["train_embnet"]
    expected = [
        ("split.seed", DASH, "42"),
        ("train_dot.optimizer.weight_decay", "0.1", "0.00001"),
    ]
    assert changed_params(before, sections()) == expected
    page = Page(render(commit=commit(scores(), before)))
    assert page.row("split.seed") == ["split.seed", "-", "42"]


def test_parameters_side_by_side() -> None:
    values = {"a": {"x": "1", "y": "2"}, "b": {"x": "1", "y": "3"}, "c": {"x": "1", "y": "2"}}
    differing, common = compare_params({**values, "d": {"x": "1"}})
    assert common == {"x": "1"}
    assert differing == {
        "y": {"a": ("2", False), "b": ("3", True), "c": ("2", False), "d": (DASH, False)}
    }

    page = Page(render())
    assert page.row("Parameter") == ["Parameter", "dotbias", "embnet", "dot"]
    assert page.row("optimizer.weight_decay")[1:] == ["0.0002", "0.00001", "0.00001"]
    assert page.row("model.dropout")[1:] == ["-", "[0.05, 0.5]", "-"]
    assert page.row("model.n_factors") == ["model.n_factors", "50"]
    assert '<td class="out">0.0002</td>' in render()


def test_a_model_whose_section_is_gone_and_one_model_alone() -> None:
    page = Page(render(params={"train_dot": sections()["train_dot"]}))
    assert page.row("model.name")[1:] == ["-", "-", "dot"]
    page = Page(render(trained=["dot"]))
    assert "Parameters of dot" in page.text
    assert "No model was trained." in render(trained=[])


def test_many_models_fit_on_paper() -> None:
    names = [f"model_{number:02}" for number in range(20)]
    many = {name: score(1 + 0.01 * place) for place, name in enumerate(names)}
    params = {f"train_{name}": {"seed": place} for place, name in enumerate(names)}
    figures = {f"predicted_{name}": svg(name) for name in reversed(names)}
    page = Page(render(metrics=many, params=params, trained=names, figures=figures))
    tables = [row[1:] for row in page.rows if row[0] == "Parameter"]
    assert [len(table) for table in tables] == [5, 5, 5, 5]
    assert [name for table in tables for name in table] == names
    assert [image["alt"] for image in page.all("img")] == names


def test_figures_in_order_and_unknown_ones_too() -> None:
    names = ("new_one", "crosstab", "predicted_dot", "predicted_dotbias", "loss_curves")
    page = Page(render(figures={name: svg(name) for name in names}))
    assert [image["alt"] for image in page.all("img")] == [
        *("loss_curves", "predicted_dotbias", "predicted_dot", "crosstab", "new_one")
    ]
    assert page.all("img")[0]["width"] == "768"
    assert "New one" in page.text
    assert "Who rated what A blank cell is a rating that could be predicted." in page.text
    assert 'id="figures"' not in render(figures={})


def test_names_that_are_markup_are_shown_and_do_nothing() -> None:
    params = {**sections(), f"train_{HOSTILE}": {"model": {HOSTILE: HOSTILE}}}
    page = Page(
        render(
            metrics={**scores(), HOSTILE: score(0.5)},
            trained=[*TRAINED, HOSTILE],
            params=params,
            provenance=replace(
                PROVENANCE, dataset=HOSTILE, requested=HOSTILE, source="javascript:alert(1)"
            ),
            figures={f"predicted_{HOSTILE}": svg(HOSTILE)},
            commit=Commit("0" * 40, HOSTILE, {HOSTILE: score(0.4)}, {"dataset": HOSTILE}, {}),
        )
    )
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "object", "link"}
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert [image["alt"] for image in page.all("img")] == [HOSTILE]
    assert page.text.count("<script>alert(1)</script>") >= 6
    assert "javascript:alert(1)" in page.text
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))


def test_the_page_needs_nothing_else() -> None:
    text = render(commit=commit({**scores(), "dot": score(9.0)}, {}))
    page = Page(text)
    assert all(str(image["src"]).startswith("data:image/svg") for image in page.all("img"))
    links = [str(link["href"]) for link in page.all("a")]
    targets = {f"#{found['id']}" for _, found in page.tags if "id" in found}
    assert [link for link in links if link not in targets] == [PROVENANCE.source]
    rest = re.sub(r'<a href="https?://[^"]*"[^>]*>.*?</a>', "", text)
    assert "://" not in rest
    assert "url(" not in rest
    assert "@import" not in rest


def test_headings_tables_and_images_say_what_they_are() -> None:
    page = Page(render(commit=commit({**scores(), "dot": score(9.0)}, {"split": {"seed": 1}})))
    assert page.all("html")[0]["lang"] == "en"
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert len(page.all("caption")) == len(page.all("table")) == 5
    assert all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    assert all(image["alt"] for image in page.all("img"))
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    assert {box["aria-labelledby"] for box in page.all("div") if "role" in box} <= set(ids)


def test_ranking_metrics_best_first() -> None:
    assert "Recall" not in render()
    page = render(ranking=toy_results().ranking)
    assert "Top 5 of each of 9 users, on the validation ratings" in page
    assert "<td>tied</td>" in page
    assert page.index(">0.2500</td>") > page.index('>ease <span class="tag">baseline</span>')
