"""`dvc repro` on made-up ratings, typed as a user would."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.entities import Run
from scipy import stats

from tests.project import MODELS, ROOT, Project, made_up_ratings
from tests.stores import client

ERROR_BARS = {"nll", "coverage_50", "coverage_80", "coverage_95"}


def test_every_model_and_baseline_is_scored(made: Project) -> None:
    metrics = made.read("reports/metrics.json")
    assert set(metrics) == {*MODELS, "global_mean", "bias"}
    assert made.read("reports/data.json")["dataset"] == "stars.csv"
    common = {"rmse", "mse", "mae", "rmse_warm", "rmse_cold", "n", "n_cold"}
    for name, scores in metrics.items():
        assert set(scores) == common | (ERROR_BARS if name == "bayesmf" else set())
        assert scores["n"] == 120
        assert scores["mse"] == pytest.approx(scores["rmse"] ** 2)


def test_error_bars_are_judged_of_the_model_that_has_them(made: Project) -> None:
    predictions = pd.read_parquet(made.folder / "reports/predictions.parquet")
    assert [name for name in predictions if name.endswith("_sd")] == ["bayesmf_sd"]
    mean, sd, observed = (predictions[key] for key in ("bayesmf", "bayesmf_sd", "observed"))
    board = pd.read_csv(made.folder / "reports/leaderboard.csv", index_col="model")
    known = board[sorted(ERROR_BARS)].notna()
    assert known.loc["bayesmf"].all()
    assert not known.drop("bayesmf").any(axis=None)
    within = np.abs(observed - mean) <= 1.959964 * sd
    assert board.loc["bayesmf", "coverage_95"] == pytest.approx(within.mean(), abs=1e-6)
    nll = -stats.norm.logpdf(observed, mean, sd).mean()
    assert board.loc["bayesmf", "nll"] == pytest.approx(nll, abs=1e-5)
    (row,) = (run for run in made.runs() if run.info.run_name == "bayesmf")
    assert row.data.metrics["nll"] == made.read("reports/metrics.json")["bayesmf"]["nll"]
    assert "<h2>Calibration</h2>" in (made.folder / "reports/index.html").read_text()
    assert (made.folder / "reports/svg/calibration.svg").exists()


def test_each_training_is_one_run_with_its_scores_and_figures(made: Project) -> None:
    found = {run.info.run_name: run for run in made.runs()}
    assert sorted(found) == MODELS
    assert len(made.runs()) == len(MODELS)
    metrics = made.read("reports/metrics.json")
    store = client(made.folder)
    own = {"learning_rate", "noise_precision", *ERROR_BARS}
    champion = min(MODELS, key=lambda model: metrics[model]["rmse"])
    names = {frozenset(run.data.metrics.keys() - own) for run in found.values()}
    assert len(names) == 1, "every model has the same metrics"
    for model, run in found.items():
        assert run.data.tags["execution"] == made.read(f"runs/{model}.json")["id"]
        assert run.info.status == "FINISHED"
        assert run.data.metrics["rmse"] == metrics[model]["rmse"]
        assert run.data.metrics["rmse_low"] < metrics[model]["rmse"] < run.data.metrics["rmse_high"]
        for name in ("loss/train", "loss/valid", "seconds_per_epoch"):
            history = store.get_metric_history(run.info.run_id, name)
            assert [metric.step for metric in history] == [1, 2]
            assert min(metric.value for metric in history) > 0
        root = {file.path for file in store.list_artifacts(run.info.run_id)}
        best = {"mlflow_model"} if model == champion else set()
        assert root == {"images", "model", "predicted_vs_observed.png", "report"} | best
        reports = {file.path for file in store.list_artifacts(run.info.run_id, "report")}
        assert {"report/calibration.png", "report/index.html"} <= reports
        files = {file.path for file in store.list_artifacts(run.info.run_id, "model")}
        assert files == {"model/model.json", "model/weights.safetensors"}


def test_nothing_to_do_is_nothing_done(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy")
    assert project.repro() == []
    assert (project.folder / "dvc.lock").read_bytes() == (made.folder / "dvc.lock").read_bytes()
    assert len(project.runs()) == len(MODELS)


def test_a_changed_value_reruns_what_depends_on_it_and_no_more(
    made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "copy")
    project.change("tracking", lambda section: section.update(enabled=False))
    assert project.repro() == []
    project.change("evaluate", lambda section: section.update(damping=6.0))
    assert project.repro()[0] == "evaluate"
    project.change("train_dot", lambda section: section.update(seed=2))
    assert project.repro() == ["train_dot", "blend", "evaluate", "rank", "plot"]


def test_sync_brings_back_the_runs_of_a_store_that_is_gone(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy")
    shutil.rmtree(project.folder / "mlruns")
    for _ in range(2):
        project.cf("sync")
    again = {run.info.run_name: run for run in project.runs()}
    assert len(project.runs()) == len(MODELS)
    for run in made.runs():
        copy = again[run.info.run_name]
        assert copy.data.metrics == run.data.metrics
        assert copy.data.params == run.data.params
        assert copy.info.start_time == run.info.start_time
        assert copy.info.end_time == run.info.end_time


def test_sync_gives_no_run_what_is_anothers(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy")

    def after_sync() -> tuple[str, Run, set[str], set[str]]:
        """What sync makes of the project's results in a folder without a store."""
        folder = tmp_path / f"clone-{len(list(tmp_path.iterdir()))}"
        clone = project.copy(folder, "mlruns")
        said = clone.cf("sync").stdout
        found = {run.info.run_name: run for run in clone.runs()}
        assert sorted(found) == MODELS
        assert "loss/valid" in found["dot"].data.metrics
        store = client(clone.folder)
        files = (store.list_artifacts(found[m].info.run_id) for m in ("dot", "dotbias"))
        return said, found["dot"], *({file.path for file in listed} for listed in files)

    project.change("train_dot", lambda section: section.update(seed=2))
    project.run("dvc", "repro", "train_dot")
    said, run, figures, others = after_sync()
    assert "dot: trained since reports/leaderboard.csv was made" in said
    assert "rmse" not in run.data.metrics
    assert figures == {"model"}
    assert {"predicted_vs_observed.png", "report"} <= others

    project.run("dvc", "repro", "evaluate")
    said, run, figures, _ = after_sync()
    assert "trained since" not in said
    assert run.data.metrics["rmse"] == project.read("reports/metrics.json")["dot"]["rmse"]
    assert figures == {"model"}, "they show the training before"

    (project.folder / "reports/leaderboard.csv").unlink()
    assert "rmse" not in after_sync()[1].data.metrics

    shutil.copy(made.folder / "models/dot/weights.safetensors", tmp_path)
    (project.folder / "models/dot/weights.safetensors").unlink()
    shutil.move(tmp_path / "weights.safetensors", project.folder / "models/dot")
    refused = project.cf("sync", check=False)
    assert refused.returncode == 1
    assert "weights.safetensors: this is not what the training in runs/dot.json" in refused.stderr


def test_each_training_that_executed_is_one_run_and_no_stage_after_it_adds_one(
    made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "copy")
    for rate in (0.05, 0.1):  # and back to what it was, which DVC remembers
        project.change("train_dot", lambda s, rate=rate: s["schedule"].update(learning_rate=rate))
        project.run("dvc", "repro", "evaluate")
    before = {run.info.run_id: run for run in project.runs() if run.data.tags["model"] == "dot"}
    rates = [run.data.params["learning_rate"] for run in before.values()]
    assert sorted(rates) == ["0.05", "0.1", "[0.1, 0.01]"]
    project.run("dvc", "repro", "--force", "--single-item", "evaluate")
    after = {run.info.run_id: run for run in project.runs() if run.data.tags["model"] == "dot"}
    assert after.keys() == before.keys()
    for run_id, run in after.items():
        assert run.info.start_time == before[run_id].info.start_time
        assert run.info.end_time == before[run_id].info.end_time
        assert len(client(project.folder).get_metric_history(run_id, "rmse")) == 1


def test_a_model_whose_stage_is_gone_is_not_judged_on_rows_it_was_trained_on(
    made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "copy")
    project.change("tracking", lambda section: section.update(enabled=False))
    project.change("split", lambda section: section.update(seed=43))
    path = project.folder / "dvc.yaml"
    stages = yaml.safe_load(path.read_text())
    del stages["stages"]["train_dotbias"]
    path.write_text(yaml.safe_dump(stages, sort_keys=False))
    done = project.run("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "runs/dotbias.json: dotbias was trained on other rows" in done.stderr
    assert "Traceback" not in done.stderr


def test_scores_of_the_test_part_are_kept_apart(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy")
    project.change("split", lambda section: section.update(test=True))
    project.change("evaluate", lambda section: section.update(part="test"))
    project.repro()
    store = client(project.folder)
    versions = len(store.search_model_versions("name = 'cf'"))
    project.cf("sync")
    assert versions == len(store.search_model_versions("name = 'cf'")) == 1
    metrics = project.read("reports/metrics.json")
    for run in project.runs():
        model, on_test = run.data.tags["model"], run.data.params.get("split_test") == "True"
        assert ("test/rmse" in run.data.metrics) == on_test
        assert ("rmse" in run.data.metrics) != on_test
        if on_test:
            assert run.data.metrics["test/rmse"] == metrics[model]["rmse"]
    page = (project.folder / "reports/index.html").read_text()
    assert "on 120 test ratings" in page
    assert "validation ratings" not in page.lower().partition("<h2>provenance")[0]


@pytest.mark.parametrize("name", ["bias", "item", "ease", "dot_sd"])
def test_a_name_that_the_reports_use_is_refused(made: Project, name: str) -> None:
    done = made.run(sys.executable, "-m", "stages.train", name, check=False)
    assert done.returncode == 1
    assert f"the name {name} has another meaning in the reports" in done.stderr


def test_a_training_says_that_it_is_worse_than_the_mean_rating(
    made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "copy")
    project.change(
        "train_dotbias", lambda section: section["model"].update(init_range=[-9.0, -8.0])
    )
    done = project.run(sys.executable, "-m", "stages.train", "dotbias")
    said = (
        r"^dotbias: the RMSE on held-out ratings is \d\.\d+, worse than the \d\.\d+ of the mean .*"
    )
    assert re.search(said + r" Use dotbias_ensemble or bayesmf\.$", done.stdout, re.M)


@pytest.mark.parametrize(
    ("script", "name", "said"),
    [
        ("sample", "dot", "expected bayesmf, which alone is sampled"),
        ("train", "bayesmf", "bayesmf has no parameter to train. If it is sampled"),
    ],
)
def test_a_model_is_made_by_its_own_script(
    made: Project, tmp_path: Path, script: str, name: str, said: str
) -> None:
    project = made.copy(tmp_path / "copy")
    other = {"sample": "train_bayesmf", "train": "train_dot"}[script]
    model = yaml.safe_load((project.folder / "params.yaml").read_text())[f"train_{name}"]["model"]
    project.change(other, lambda section: section.update(model=model))
    module = f"stages.{script}"
    done = project.run(sys.executable, "-m", module, other.removeprefix("train_"), check=False)
    assert done.returncode == 1
    assert said in done.stderr


def test_the_same_seed_gives_the_same_files_to_the_bit(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy")
    project.change("tracking", lambda section: section.update(enabled=False))
    for model in ("dotbias", "bayesmf"):
        project.run("dvc", "repro", "--single-item", "--force", f"train_{model}")
        for path in (f"models/{model}/weights.safetensors", f"reports/history/{model}.csv"):
            assert (project.folder / path).read_bytes() == (made.folder / path).read_bytes()


@pytest.mark.parametrize(
    ("section", "edit", "said"),
    [
        ("split", {"fraction": "1e-3"}, "split.fraction"),
        ("split", {"fraction": 0.0001}, "600 for training, 0 for validation"),
        ("train_dot", {"bach_size": 64}, "Did you mean batch_size?"),
        (
            "train_dot",
            {"model": {"name": "dot", "n_factors": -1, "init_range": [0.0, 0.1]}},
            "train_dot.model.n_factors",
        ),
        (
            "train_dot",
            {"model": {"name": "dot", "n_factors": 10**9, "init_range": [0.0, 0.1]}},
            "lower n_factors",
        ),
    ],
)
def test_bad_values_end_in_a_message(
    made: Project, tmp_path: Path, section: str, edit: dict[str, Any], said: str
) -> None:
    project = made.copy(tmp_path / "copy")
    project.change(section, lambda values: values.update(edit))
    done = project.run("dvc", "repro", section, check=False)
    assert done.returncode != 0
    assert said in done.stderr
    assert "params.yaml" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(project.folder.rglob(".partial-*"))


def test_git_sees_no_change_where_results_are_the_same(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy", "mlruns", "cache").commit()
    for folder in (".dvc/tmp", "models", "reports/figures"):
        shutil.rmtree(project.folder / folder)
    trainings = {f"train_{model}" for model in MODELS}
    assert set(project.repro()) >= {*trainings, "evaluate", "plot"}
    status = project.run("git", "status", "--porcelain").stdout.split()[1::2]
    assert set(status) <= {"dvc.lock", *(f"runs/{model}.json" for model in MODELS)}
    assert project.run("dvc", "metrics", "diff").stdout == ""
    assert project.run("dvc", "params", "diff").stdout == ""


def test_an_experiment_with_another_parameter(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy").commit()
    before = project.read("reports/metrics.json")
    project.run("dvc", "exp", "run", "--name", "narrow", "-S", "train_dotbias.model.n_factors=2")
    after = project.read("reports/metrics.json")
    assert after["dotbias"] != before["dotbias"]
    assert after["dot"] == before["dot"]
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    assert "narrow" in json.dumps(shown)
    changed = json.loads(project.run("dvc", "params", "diff", "--json").stdout)
    assert list(changed["params.yaml"]) == ["train_dotbias.model.n_factors"]
    (run,) = (run for run in project.runs() if run.data.tags.get("dvc_experiment"))
    assert run.info.run_name == "dotbias n_factors=2 (narrow)"
    pages = {
        one.info.run_name: (root / one.info.run_id / "artifacts/report/index.html").read_text()
        for root in [project.folder / "mlruns/artifacts"]
        for one in project.runs()
    }
    told = {
        name
        for name, page in pages.items()
        if "train_<wbr>dotbias.<wbr>model.<wbr>n_<wbr>factors" in page
    }
    assert told == {run.info.run_name}, "no page of a run is about another experiment"
    assert len(project.runs()) == len(MODELS) + 1


def test_four_experiments_at_once_on_a_fresh_store(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy", "mlruns")
    project.keep_only("dot")
    project.commit()
    seeds = [11, 12, 13, 14]
    wanted = {f"seed-{seed}": {"train_dot.seed": seed} for seed in seeds}
    code = f"from cf.cli import experiments; experiments.run({wanted}, 4, 'seed')"
    project.run(sys.executable, "-c", code)
    shown = json.loads(project.run("dvc", "exp", "show", "--json").stdout)
    experiments = {
        rev["name"]: rev["data"]["metrics"]["reports/metrics.json"]["data"]
        for experiment in shown[-1]["experiments"]
        for rev in experiment["revs"]
    }
    assert set(experiments) == set(wanted)
    found = project.runs()
    assert len(found) == len(seeds)
    for run in found:
        scores = experiments[run.data.tags["dvc_experiment"]]["dot"]
        assert run.info.status == "FINISHED"
        assert {name: run.data.metrics.get(name) for name in scores} == scores
        assert len(client(project.folder).get_metric_history(run.info.run_id, "loss/valid")) == 2


def test_cross_validation_puts_each_folds_training_under_its_models_run(
    made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "copy")
    project.keep_only("dot")
    project.commit()
    project.change("cv", lambda section: section.update(n_folds=2, seeds=[7]))
    champion = client(project.folder).get_model_version_by_alias("cf", "champion").version
    before = {run.info.run_id for run in project.runs()}
    assert "2 folds, 1 seeds each" in project.cf("cv").stdout
    runs = [run for run in project.runs() if run.info.run_id not in before]
    models = ["dot"]
    parents = [run for run in runs if run.info.run_name.startswith("cv ")]
    assert sorted(run.info.run_name for run in parents) == [f"cv {model}" for model in models]
    assert len(runs) == len(models) * (1 + 2)
    for parent in parents:
        folds = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert {run.data.params["split_fold"] for run in folds} == {"0", "1"}
        assert {run.data.tags["model"] for run in folds} == {parent.data.tags["model"]}
        scores = [run.data.metrics["rmse"] for run in folds]
        assert parent.data.metrics["rmse"] == pytest.approx(sum(scores) / 2)
        assert "split_fold" not in parent.data.params
        assert parent.data.params["n_factors"] == folds[0].data.params["n_factors"]
        assert "split_sha256" not in parent.data.tags
    again = client(project.folder).get_model_version_by_alias("cf", "champion").version
    assert again == champion, "no fold's model is the champion"


def test_the_readmes_recipe_adds_models(made: Project, tmp_path: Path) -> None:
    project = made.copy(tmp_path / "copy")
    project.change("tracking", lambda section: section.update(enabled=False))
    readme = (project.folder / "README.md").read_text()
    readme = readme.partition("## Add a model")[2]
    codes = re.findall(r"```python\n(.*?)```", readme, re.S)
    sections = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", readme, re.S)]
    models = [section["model"]["name"] for section in sections]
    assert models == ["biasonly", "dotbias_genres"]

    def follow_the_recipe() -> None:
        params, pipeline = project.folder / "params.yaml", project.folder / "dvc.yaml"
        content, text = yaml.safe_load(params.read_text()), pipeline.read_text()
        (stage,) = re.findall(r"^  train_dotbias:\n(?:    .*\n)+\n", text, re.M)
        for model, code, section in zip(models, codes, sections, strict=True):
            (project.folder / f"cf/models/{model}.py").write_text(code)
            content[f"train_{model}"] = {**content["train_dotbias"], **section}
            text = text.replace(stage, stage + stage.replace("dotbias", model))
        params.write_text(yaml.safe_dump(content, sort_keys=False))
        pipeline.write_text(text)

    follow_the_recipe()
    executed = {*(f"train_{model}" for model in models), "blend", "evaluate", "rank", "plot"}
    assert set(project.repro()) == executed
    assert set(models) < set(project.read("reports/metrics.json"))
    page = (project.folder / "reports/index.html").read_text().replace("<wbr>", "")
    for model in models:
        assert (project.folder / f"reports/figures/predicted_{model}.png").exists()
        assert f">{model}</th>" in page

    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, project.folder)  # the contract is about cf's own models as well
    follow_the_recipe()
    contract = ("tests/test_models.py", "tests/test_pipeline.py", "tests/test_config.py")
    done = project.run(sys.executable, "-m", "pytest", "-q", "-n0", *contract)
    assert " passed" in done.stdout


def test_interactions_are_ranked_and_no_model_is_trained_on_them(
    made: Project, tmp_path: Path
) -> None:
    project = made.copy(tmp_path / "project")
    played = made_up_ratings().rename(columns={"stars": "plays"})
    played.to_csv(tmp_path / "project/data/own/plays.csv", index=False)
    said = project.cf("inspect", "data/own/plays.csv", "--write").stdout
    assert "600 interactions, counted from 0.5 to 5" in said
    assert "`make rank` runs it" in said
    table = project.cf("rank").stdout
    for model in ("popularity", "itemknn", "ease"):
        assert re.search(rf"^{model} +0\.\d{{4}}", table, re.M)
    assert "plays.csv: interactions, split by per_user" in table
    failed = project.run("dvc", "repro", check=False)
    assert failed.returncode != 0
    assert "train_dot needs ratings, and plays.csv has interactions" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "train_dotbias" not in failed.stdout, "it ends before the first training"


def test_a_file_found_somewhere_becomes_results_with_titles(made: Project, tmp_path: Path) -> None:
    """MovieTweetings as published: no names, ids with leading zeros, ratings from 0 to 10."""
    project = made.copy(tmp_path / "project")
    for name in ("ratings.dat", "movies.dat"):
        published = ROOT / "cf/data/movietweetings-10k" / name
        shutil.copy(published, tmp_path / "project/data/own" / name)
    files = "data/own/ratings.dat", "--items", "data/own/movies.dat"
    said = project.cf("inspect", *files, "--write").stdout
    assert "3,096 of the 3,096 items" in said
    executed = project.repro()
    assert executed[0] == "ingest"
    assert executed[-1] == "plot"
    shown = project.cf("show").stdout
    assert "ratings.dat: 2000 validation ratings" in shown
    assert "in points" in shown
    ids = pd.read_parquet(tmp_path / "project/data/ingested/items.parquet")
    lines = (tmp_path / "project/data/own/movies.dat").read_text().splitlines()
    titles = {line.split("::")[0]: line.split("::")[1] for line in lines}
    assert dict(zip(ids["item_id"], ids["title"], strict=True)) == titles
    heat_map = (tmp_path / "project/reports/svg/crosstab.svg").read_text()
    shortened = ("Argo", "Skyfall", "Django Unchained")
    assert any(title in heat_map for title in shortened)
    strata = pd.read_csv(tmp_path / "project/reports/strata.csv")
    assert {"Drama", "Comedy"} <= set(strata.loc[strata["stratum"] == "genre", "label"])

    packed = made.copy(tmp_path / "other")
    packed.change("ingest", lambda s: s.update(dataset="movietweetings-10k", columns={}))
    packed.repro("ingest")
    frames = [
        pd.read_parquet(f / "data/ingested/ratings.parquet")
        for f in (project.folder, packed.folder)
    ]
    pd.testing.assert_frame_equal(*frames)
