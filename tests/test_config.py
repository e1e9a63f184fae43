from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from hypothesis import given
from hypothesis import strategies as st

from cf.core import config
from cf.core.config_errors import format_float
from cf.core.errors import InputError
from cf.models import base

GOOD: dict[str, Any] = {
    "model": {"name": "dot", "n_factors": 3, "init_range": [0.0, 0.1]},
    "seed": 1,
    "device": "auto",
    "n_threads": 1,
    "batch_size": 8,
    "optimizer": {"name": "sgd", "momentum": 0.9, "weight_decay": 0.0},
    "schedule": {"n_epochs": [1, 2], "learning_rate": 0.1, "anneal": "none"},
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return path


def message(values: dict[str, Any], kind: type[config.BaseConfig] = config.Training) -> str:
    with pytest.raises(InputError) as caught:
        config.validate(values, "params.yaml: train_dot", kind)
    return str(caught.value)


def test_the_committed_file_is_valid(pytestconfig: pytest.Config) -> None:
    path = pytestconfig.rootpath / "params.yaml"
    config.load(path, "ingest", config.Ingest)
    config.load(path, "split", config.Split)
    config.load(path, "evaluate", config.Evaluate)
    config.load(path, "rank", config.Rank)
    config.load(path, "tracking", config.Tracking)
    for name in yaml.safe_load(path.read_text()):
        if not name.startswith("train_"):
            continue
        kind = config.Sampling if config.is_sampled(path, name) else config.Training
        training: config.Training | config.Sampling = config.load(path, name, kind)
        settings = dict(training.model)
        config.validate(settings, "model", base.find(settings.pop("name")).Config)


def test_a_section_of_before_there_were_tags_and_devices_is_valid(
    pytestconfig: pytest.Config,
) -> None:
    section = yaml.safe_load((pytestconfig.rootpath / "params.yaml").read_text())["train_bayesmf"]
    assert section["gibbs"].pop("tags") is True
    assert section.pop("device") == "auto"
    validated = config.validate(section, "here", config.Sampling)
    assert validated.gibbs.tags
    assert validated.device == "auto"
    section["gibbs"]["tags"] = "some"
    assert "gibbs.tags" in message(section, config.Sampling)


def test_a_total_decay_is_shared_by_the_ratings() -> None:
    optimizer = {"name": "sgd", "momentum": 0.9, "total_weight_decay": 8.0}
    training = config.validate({**GOOD, "optimizer": optimizer}, "here", config.Training)
    assert training.optimizer.decay(1000) == pytest.approx(0.008)
    plain = config.validate(GOOD, "here", config.Training)
    assert (
        plain.optimizer.decay(10)
        == plain.optimizer.decay(1000)
        == GOOD["optimizer"]["weight_decay"]
    )


@pytest.mark.parametrize(
    ("n_ratings", "expected"), [(10**6, 8), (320, 8), (100, 2), (40, 1), (3, 1)]
)
def test_batches_are_smaller_where_steps_would_be_few(n_ratings: int, expected: int) -> None:
    training = config.validate({**GOOD, "min_steps": 40}, "here", config.Training)
    assert training.batch_size_for(n_ratings) == expected
    assert config.validate(GOOD, "here", config.Training).batch_size_for(10**6) == 8


def test_unknown_key_names_the_likely_one() -> None:
    text = message({**GOOD, "schedule": {**GOOD["schedule"], "n_epoch": [1]}})
    assert "params.yaml: train_dot.schedule.n_epoch: unknown key. Did you mean n_epochs?" in text
    assert "Known keys: n_epochs, learning_rate, anneal, warm_up." in text


def test_missing_key_is_named() -> None:
    assert "params.yaml: train_dot.seed: this key is missing" in message(
        {key: value for key, value in GOOD.items() if key != "seed"}
    )


def test_missing_section_says_what_it_needs(tmp_path: Path) -> None:
    path = written(tmp_path, "ingest: {}\nsplitt: {}\n")
    with pytest.raises(InputError, match=r"params.yaml: split: this section is missing") as caught:
        config.load(path, "split", config.Split)
    assert "It needs method, fraction, seed, n_last, " in str(caught.value)
    assert "Is it the one called splitt?" in str(caught.value)


def test_text_that_looks_like_a_number_is_explained(tmp_path: Path) -> None:
    path = written(tmp_path, "split: {fraction: 1e-3, seed: 1}\n")
    with pytest.raises(InputError) as caught:
        config.load(path, "split", config.Split)
    assert "split.fraction" in str(caught.value)
    assert "YAML reads 1e-3 as text: write 0.001" in str(caught.value)


@pytest.mark.parametrize("text", ["0.00001", "0.00002", "0.1", "100000000000000000000.0"])
def test_what_dvc_writes_for_a_changed_value_is_read(
    tmp_path: Path, pytestconfig: pytest.Config, text: str
) -> None:
    path = written(tmp_path, (pytestconfig.rootpath / "params.yaml").read_text())
    apply_overrides(path, [f"evaluate.damping={text}"])
    assert config.load(path, "evaluate", config.Evaluate).damping == float(text)


@given(number=st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False))
def test_plain_numbers_have_no_exponent_and_give_the_number_back(number: float) -> None:
    assert "e" not in format_float(number)
    assert float(format_float(number)) == number


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 1.5),
        ("batch_size", 10**20),
        ("n_threads", 10**10),
        ("seed", -1),
        ("n_threads", "two"),
        ("optimizer", {"name": "adagrad", "weight_decay": 0.0}),
        ("optimizer", {"name": "sgd", "momentum": 0.9, "weight_decay": -1.0}),
        ("optimizer", {"name": "sgd", "betas": [0.9, 0.99], "weight_decay": 0.0}),
        ("optimizer", {"name": "sgd", "momentum": 0.9}),
        ("optimizer", {"name": "rowwise_adagrad", "weight_decay": 0.0, "eps": 0.0}),
        (
            "optimizer",
            {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1, "total_weight_decay": 8.0},
        ),
        ("optimizer", {"name": "sgd", "momentum": 0.9, "total_weight_decay": -8.0}),
        ("min_steps", 0),
        ("schedule", {"n_epochs": [], "learning_rate": 0.1, "anneal": "none"}),
        ("schedule", {"n_epochs": [1], "learning_rate": [0.1, 0.2], "anneal": "none"}),
        ("schedule", {"n_epochs": [1], "learning_rate": float("nan"), "anneal": "none"}),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(key: str, value: Any) -> None:
    assert f"params.yaml: train_dot.{key}" in message({**GOOD, key: value})


def test_a_union_complains_once_and_names_no_types() -> None:
    text = message({**GOOD, "schedule": {**GOOD["schedule"], "learning_rate": "0.1"}})
    assert text.count("\n") == 0
    assert text.startswith("params.yaml: train_dot.schedule.learning_rate: input should be a valid")
    assert text.endswith("got '0.1'. Remove the quotes.")


@pytest.mark.parametrize("init_range", [[0.1, -0.1], [0.1], [0.0, float("inf")], 0.1])
def test_the_range_to_start_in_ascends(init_range: Any) -> None:
    kind = base.find("dot").Config
    assert "init_range" in message({"n_factors": 3, "init_range": init_range}, kind)


@pytest.mark.parametrize("n_factors", [-5, 0, 2.5, "50", 10**15])
def test_number_of_factors_is_a_positive_whole_number(n_factors: Any) -> None:
    kind = base.find("dot").Config
    text = message({"n_factors": n_factors, "init_range": [0.0, 0.1]}, kind)
    assert "n_factors" in text
    assert repr(n_factors) in text


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"params\.yaml"):
        config.load(written(tmp_path, text), "split", config.Split)


def test_a_missing_file_says_how_to_get_it_back(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="git checkout"):
        config.load(tmp_path / "params.yaml", "split", config.Split)


def test_a_range_must_ascend() -> None:
    with pytest.raises(InputError, match="rating_range"):
        config.validate(
            {
                "dataset": "x.csv",
                "fallback": None,
                "columns": {"user_id": "u", "item_id": "i", "rating": "r", "timestamp": None},
                "rating_range": [5.0, 0.5],
            },
            "params.yaml: ingest",
            config.Ingest,
        )


@pytest.mark.parametrize(
    ("given", "tried"),
    [
        (None, []),
        ([], []),
        ("ml-100k", ["ml-100k"]),
        (["ml-100k", "movietweetings-10k"], ["ml-100k", "movietweetings-10k"]),
    ],
)
def test_a_fallback_is_one_several_or_none(given: Any, tried: list[str]) -> None:
    values = {"dataset": "ml-1m", "fallback": given}
    assert config.validate(values, "params.yaml: ingest", config.Ingest).fallbacks == tried


@pytest.mark.parametrize("given", ["ml-25m", ["ml-100k", "ml-25m"], 3])
def test_a_fallback_that_needs_grouplens_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match=r"ingest\.fallback.*'ml-100k' or 'movietweetings-10k'"):
        config.validate({"dataset": "ml-1m", "fallback": given}, "ingest", config.Ingest)


def test_one_rate_serves_all_phases() -> None:
    schedule = config.Schedule(n_epochs=[1, 2], learning_rate=0.5, anneal="none")
    assert schedule.phases == [(1, 0.5), (2, 0.5)]


def test_a_name_that_two_values_have_is_refused_in_words() -> None:
    section = {"model": {"name": "dot", "seed": 2}, "seed": 1}
    with pytest.raises(InputError, match="more than one value of a section is called seed"):
        config.flatten_params(section)


def test_a_cross_validation_trains_each_fold_with_different_seeds() -> None:
    with pytest.raises(InputError, match=r"cv\.seeds: expected different seeds, got \[1, 1\]"):
        config.validate({"n_folds": 2, "seeds": [1, 1], "jobs": 1}, "cv", config.Cv)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 5000, "too deep"),
        ("ingest: " + "{a: " * 5000, "too deep"),
        ("ingest: {day: 2001-99-99}", "month must be in"),
        ("ingest: {n: " + "1" * 5000 + "}", "digits"),
        ("split: {}\nsplit: {}", "the key split is there twice"),
        ("split: {seed: 1, method: random, seed: 2}", "the key seed is there twice"),
        ("- {a: 1, a: 2}", "the key a is there twice"),
        ("a: [", "not readable as YAML"),
        ("- a", "expected named sections, got list"),
        ("\x00", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_params_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=r"params\.yaml: ") as caught:
        config.load(path, "split", config.Split)
    assert reason in str(caught.value)


def test_a_folder_or_other_bytes_are_no_params(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.mkdir()
    with pytest.raises(InputError, match=r"params\.yaml: cannot be read \(Is a directory\)"):
        config.load(path, "split", config.Split)
    path.rmdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"params\.yaml: not readable as YAML"):
        config.load(path, "split", config.Split)


def test_a_section_called_by_a_number_is_no_hindrance(tmp_path: Path) -> None:
    path = written(tmp_path, "1: {}\n2001-01-01: {}\nnull: {}\nsplits: {}\n")
    with pytest.raises(InputError, match=r"split: this section is missing.* called splits"):
        config.load(path, "split", config.Split)
    assert config.trained_models(path) == []


@pytest.mark.parametrize("launcher", ["", "launcher: local"])
def test_without_ray_there_are_no_settings_of_ray(tmp_path: Path, launcher: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"{launcher}\ntracking: {{}}\n")
    assert config.ray(path) is None


@pytest.mark.parametrize("address", ["", " ", "local"])
def test_an_address_of_no_cluster_is_refused(address: str) -> None:
    settings = {"workers": 2, "storage": "x", "max_failures": 3}
    assert config.Ray(address=None, **settings).most_workers == 2
    with pytest.raises(ValueError, match="address: expected auto, an address such as"):
        config.Ray(address=address, **settings)


def test_ray_that_is_not_installed_is_named_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "RAY_PACKAGES", ("yaml", "no_such_package"))
    path = tmp_path / "params.yaml"
    path.write_text("launcher: ray\n")
    with pytest.raises(InputError, match=r"here: no_such_package\. .*`make ray`"):
        config.ray(path)
    path.write_text("launcher: spark\n")
    with pytest.raises(InputError, match="launcher: expected local or ray, got 'spark'"):
        config.ray(path)
