"""The contract of every model, and each model's formula on a case worked out by hand."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

import cf.models
from cf.core.config import BaseConfig
from cf.core.errors import InputError
from cf.core.ratings import Provenance, Ratings
from cf.inference.load import load_answers
from cf.models import base
from cf.training import checkpoint as checkpoints
from cf.training.checkpoint import ModelSpec
from cf.training.fast_gradients import fast_gradients
from cf.training.item_features import item_columns
from cf.training.optim import Adam

PARAMS = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text())
SECTIONS = {name: section for name, section in PARAMS.items() if name.startswith("train_")}
EXAMPLE = {**SECTIONS["train_dotbias"], "model": {**SECTIONS["train_dotbias"]["model"]}}
EXAMPLE["model"]["name"] = "dotbias_genres"
SECTIONS["example"] = EXAMPLE
TRAINED = {name: section for name, section in SECTIONS.items() if "optimizer" in section}
FACTS = Provenance("toy", "toy", "here", "0", 20, n_users=7, n_items=9, rating_range=(1.0, 5.0))
ITEMS = pd.DataFrame({"genres": ["War", "", "Drama|War"] * 3, "year": [1990.0] * 4 + [2000.0] * 5})


@pytest.fixture(autouse=True)
def _with_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract holds for a model that uses item features, too."""
    folder = str(Path(__file__).parent / "example_models")
    monkeypatch.setattr(cf.models, "__path__", [*cf.models.__path__, folder])


def small_settings(section: dict[str, Any]) -> dict[str, Any]:
    return {**section["model"], **({"n_factors": 4} if "n_factors" in section["model"] else {})}


def spec_of(section: dict[str, Any]) -> ModelSpec:
    return ModelSpec.from_data(small_settings(section), FACTS, ITEMS, "test")


def built(section: dict[str, Any]) -> base.Model:
    torch.manual_seed(0)
    return spec_of(section).build("test")


@pytest.fixture(params=SECTIONS.values(), ids=SECTIONS.keys())
def model(request: pytest.FixtureRequest) -> base.Model:
    return built(request.param)


@pytest.fixture(params=TRAINED.values(), ids=TRAINED.keys())
def trained(request: pytest.FixtureRequest) -> base.Model:
    """A model that learns by gradients; the others are sampled."""
    return built(request.param)


def indices(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(n) % 7, torch.arange(n) * 2 % 9


def test_every_model_has_a_section() -> None:
    assert {section["model"]["name"] for section in SECTIONS.values()} == set(base.names())


@pytest.mark.parametrize("n", [0, 1, 5])
def test_output_is_one_rating_a_row(model: base.Model, n: int) -> None:
    assert model(*indices(n)).shape == (n,)
    model.eval()
    assert model(*indices(n)).shape == (n,)


def test_output_depends_on_user_and_item(model: base.Model) -> None:
    model.eval()
    users, items = torch.tensor([0, 1, 0]), torch.tensor([0, 0, 1])
    first, other_user, other_item = model(users, items).tolist()
    assert first != other_user
    assert first != other_item


def test_the_gradient_of_every_parameter_is_the_slope_of_the_loss(trained: base.Model) -> None:
    for module in trained.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    users, items = torch.tensor([3, 3, 0]), torch.tensor([1, 2, 1])
    ratings = torch.tensor([1.0, 5.0, 2.5])

    def total() -> torch.Tensor:
        return trained.loss(users, items, ratings).sum()

    with fast_gradients(trained):
        loss = trained.loss(users, items, ratings)
        loss.backward(torch.ones_like(loss))
    nudge = 1e-3
    for name, parameter in trained.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        assert gradient.abs().sum() > 0, name
        place = np.unravel_index(int(gradient.abs().argmax()), gradient.shape)
        with torch.no_grad():
            parameter[place] += nudge
            above = float(total())
            parameter[place] -= 2 * nudge
            below = float(total())
            parameter[place] += nudge
        assert float(gradient[place]) == pytest.approx((above - below) / (2 * nudge), rel=0.03), (
            name
        )


def test_the_loss_is_that_of_the_predictions_or_of_each_member() -> None:
    users, items, ratings = *indices(5), torch.rand(5) * 4 + 1
    for name, section in TRAINED.items():
        model = built(section).eval()
        loss = model.loss(users, items, ratings)
        expected = torch.nn.functional.mse_loss(model(users, items), ratings)
        if "n_members" in section["model"]:  # the error of a mean is below the mean of errors
            assert loss.shape == (section["model"]["n_members"],)
            assert loss.mean() > expected
        else:
            torch.testing.assert_close(loss, expected, msg=name)


def test_prediction_is_the_same_in_chunks_and_without_dropout(model: base.Model) -> None:
    users, items = (tensor.numpy() for tensor in indices(9))
    whole = base.predict(model, users, items)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(whole, base.predict(model, users, items, chunk=2))
    assert base.predict(model, users[:0], items[:0]).shape == (0,)


def test_a_deviation_is_predicted_for_every_row_or_for_none(model: base.Model) -> None:
    users, items = (tensor.numpy() for tensor in indices(9))
    mean, sd = base.predict_mean_and_std(model, users, items, chunk=2)
    np.testing.assert_array_equal(mean, base.predict(model, users, items))
    nothing = base.predict_mean_and_std(model, users[:0], items[:0])
    assert (
        (nothing[1] is None)
        == (sd is None)
        == (type(model).predict_mean_and_std is base.Model.predict_mean_and_std)
    )
    if sd is not None and nothing[1] is not None:
        assert sd.dtype == np.float32
        assert sd.shape == (9,)
        assert nothing[1].shape == (0,)
        assert np.all((sd > 0) & np.isfinite(sd))


@pytest.mark.parametrize("section", SECTIONS.values(), ids=SECTIONS.keys())
def test_a_checkpoint_gives_the_same_predictions(tmp_path: Path, section: dict[str, Any]) -> None:
    model = built(section)
    spec = spec_of(section)
    files = checkpoints.save(tmp_path / "m", model, spec)
    assert sorted(path.name for path in files) == ["model.json", "weights.safetensors"]
    users, items = (tensor.numpy() for tensor in indices(9))
    expected = base.predict(model, users, items)
    np.testing.assert_array_equal(
        base.predict(checkpoints.load(tmp_path / "m"), users, items), expected
    )


def test_a_checkpoint_has_predictions_of_its_first_to_its_last_pairs(tmp_path: Path) -> None:
    section = SECTIONS["train_dot"]
    model, spec = built(section), spec_of(section)
    weights, settings = checkpoints.save(tmp_path / "m", model, spec)
    content = json.loads(settings.read_text())
    kept = content.pop("predictions")
    assert content == {
        "model": spec.model,
        "n_users": 7,
        "n_items": 9,
        "rating_range": [1.0, 5.0],
        "ids_sha256": "",
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    assert len(kept["users"]) == len(kept["items"]) == 16
    assert sorted(set(kept["users"])) == list(range(7))
    assert sorted(set(kept["items"])) == list(range(9))
    expected = base.predict(model, np.array(kept["users"]), np.array(kept["items"]))
    assert kept["predicted"] == expected.tolist()
    model.get_parameter("user_factors.weight").data[6] = np.nan
    assert "predictions" not in json.loads(checkpoints.save(tmp_path, model, spec)[1].read_text())


DAMAGES = {
    "weights": "weights.safetensors is not what the training has written",
    "settings": "model.json: Expecting property name .*",
    "mismatch": ".*\\tsize mismatch for user_factors.weight: .*",
    "gone": ".* No such file or directory: '.*/m/weights.safetensors'",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named(tmp_path: Path, damage: str) -> None:
    section = SECTIONS["train_dot"]
    spec = spec_of(section)
    weights, settings = checkpoints.save(tmp_path / "m", built(section), spec)
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:50])
    elif damage == "settings":
        settings.write_text("{")
    elif damage == "mismatch":
        settings.write_text(settings.read_text().replace('"n_users": 7', '"n_users": 8'))
    else:
        weights.unlink()
    expected = rf"(?s)m: not a whole checkpoint \({DAMAGES[damage]}\)\. .* `dvc repro -f train_m`"
    with pytest.raises(InputError, match=expected):
        checkpoints.load(tmp_path / "m")


def test_a_checkpoint_of_a_model_that_there_is_not_is_named(tmp_path: Path) -> None:
    section = SECTIONS["train_dot"]
    _, settings = checkpoints.save(tmp_path / "m", built(section), spec_of(section))
    settings.write_text(settings.read_text().replace('"name": "dot"', '"name": "dott"'))
    with pytest.raises(InputError, match=rf"^{settings}\.name: no model is called 'dott'"):
        checkpoints.load(tmp_path / "m")


def test_item_columns_are_saved_and_a_data_set_without_them_trains_without() -> None:
    model = built(EXAMPLE)
    assert model.state_dict()["item_columns"].shape == (9, 3)
    assert "item_columns" not in dict(model.named_parameters())
    nothing = ITEMS.assign(genres="", year=np.nan)
    bare = ModelSpec.from_data(small_settings(EXAMPLE), FACTS, nothing, "test").build("test")
    assert bare.state_dict()["item_columns"].shape == (9, 0)
    users, items = indices(5)
    loss = bare.loss(users, items, torch.full((5,), 3.0))
    loss.backward()
    Adam(bare.parameters(), (0.9, 0.99), 0.0).step()
    assert bare(users, items).isfinite().all()


class WithoutColumns(base.Model):
    """Declares features, and takes none."""

    class Config(BaseConfig):
        """Nothing."""

    item_features = ("year",)

    def __init__(
        self, config: BaseConfig, n_users: int, n_items: int, rating_range: list[float]
    ) -> None:
        super().__init__(config, n_users, n_items, rating_range)


class KeepsColumns(WithoutColumns):
    """Takes the columns of its features, and does not hand them on."""

    def __init__(
        self,
        config: BaseConfig,
        n_users: int,
        n_items: int,
        rating_range: list[float],
        columns: torch.Tensor,
    ) -> None:
        super().__init__(config, n_users, n_items, rating_range)


class WithoutFeatures(KeepsColumns):
    """Declares no features, and takes their columns."""

    item_features = ()


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (
            WithoutColumns,
            "expected the arguments config, n_users, n_items, rating_range, item_columns: too many "
            "positional arguments.",
        ),
        (
            WithoutFeatures,
            "expected the arguments config, n_users, n_items, rating_range: missing a required "
            "argument: 'columns'.",
        ),
        (KeepsColumns, "hand item_columns on to super().__init__, as the last one."),
    ],
)
def test_a_model_with_features_takes_their_columns(
    monkeypatch: pytest.MonkeyPatch, cls: type[base.Model], said: str
) -> None:
    monkeypatch.setattr(base, "find", lambda _: cls)
    spec = ModelSpec.from_data({"name": "mine"}, FACTS, ITEMS, "test")
    with pytest.raises(InputError) as caught:
        spec.build("test")
    assert str(caught.value) == f"cf/models/mine.py: {cls.__name__}.__init__: {said}"


def test_a_feature_that_there_is_not_is_named_with_the_models_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cls = type("Mine", (KeepsColumns,), {"item_features": ("genre",)})
    monkeypatch.setattr(base, "find", lambda _: cls)
    with pytest.raises(InputError, match=r"^cf/models/mine\.py: item_features: .* 'genre'"):
        ModelSpec.from_data({"name": "mine"}, FACTS, ITEMS, "test")


def test_the_spec_of_a_model_is_of_the_data() -> None:
    facts = replace(FACTS, ids_sha256="abc")
    settings = small_settings(SECTIONS["train_dot"])
    plain = ModelSpec.from_data(settings, facts, ITEMS, "test")
    assert plain == ModelSpec(settings, 7, 9, (1.0, 5.0), None, "abc")
    example = ModelSpec.from_data(small_settings(EXAMPLE), facts, ITEMS, "test")
    assert example.ids_sha256 == "abc"
    assert example.item_columns is not None
    assert torch.equal(example.item_columns, item_columns(ITEMS, ("genres", "year"), "test"))


def test_an_unknown_model_lists_those_there_are() -> None:
    context = "params.yaml: train_x.model"
    with pytest.raises(InputError) as caught:
        ModelSpec({"name": "dotbia"}, 7, 9, (0.5, 5.0)).build(context)
    assert str(caught.value) == (
        f"{context}.name: no model is called 'dotbia'. Choose one of {', '.join(base.names())}, or "
        "add cf/models/dotbia.py."
    )
    assert {"dot", "dotbias", "dotbias_ensemble", "embnet"} < set(base.names())
    for section, got in (({}, "None"), ({"name": 3}, "3")):
        with pytest.raises(InputError) as caught:
            ModelSpec.from_data(section, FACTS, ITEMS, context)
        assert str(caught.value) == f"{context}.name: expected a model's name, got {got}."


def test_a_file_without_one_model_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "two_models.py").write_text(
        "from cf.models.base import Model\nclass A(Model): ...\nclass B(Model): ...\nclass C: ..."
    )
    monkeypatch.setattr(cf.models, "__path__", [str(tmp_path)])
    assert base.names() == ["two_models"]
    with pytest.raises(
        InputError,
        match=r"^cf/models/two_models.py: expected one class that is a Model, got 2\.$",
    ):
        base.find("two_models")
    with pytest.raises(
        InputError,
        match=r"^no model is called 'x'. Choose one of two_models, or add cf/models/x.py\.$",
    ):
        base.find("x")


def weights(model: torch.nn.Module, **tables: list[Any]) -> None:
    with torch.no_grad():
        for name, values in tables.items():
            getattr(model, name).weight.copy_(torch.tensor(values))


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_a_member_becomes_what_it_becomes_alone(weight_decay: float) -> None:
    torch.manual_seed(0)
    settings = {"n_factors": 2, "init_range": [-0.5, 0.5]}
    both = ModelSpec({"name": "dotbias_ensemble", "n_members": 2, **settings}, 7, 9, (1.0, 5.0))
    together, alone = both.build("test"), []
    for member in (0, 1):
        one = ModelSpec({"name": "dotbias", **settings}, 7, 9, (1.0, 5.0)).build("test")
        with torch.no_grad():
            for side in ("user", "item"):
                factors = getattr(together, f"{side}_factors").weight
                getattr(one, f"{side}_factors").weight.copy_(factors[:, 2 * member :][:, :2])
                bias = getattr(together, f"{side}_bias").weight
                getattr(one, f"{side}_bias").weight.copy_(bias[:, member : member + 1])
        alone.append(one)
    batches = [(*indices(n), torch.rand(n) * 4 + 1) for n in (5, 9, 3)]
    for model in (together, *alone):
        optimizer = Adam(model.parameters(), (0.9, 0.99), weight_decay)
        optimizer.param_groups[0]["lr"] = 0.1
        for batch in batches:
            optimizer.zero_grad()
            model.loss(*batch).sum().backward()
            optimizer.step()
        model.eval()
    expected = torch.stack([model(*indices(9)) for model in alone])
    assert (expected[0] - expected[1]).abs().max() > 0.1
    torch.testing.assert_close(together(*indices(9)), expected.mean(0), rtol=1e-5, atol=1e-5)


def small(name: str, **settings: Any) -> base.Model:
    cls = base.find(name)
    own = cls.Config(**{"n_factors": 2, "init_range": [0.0, 0.1], **settings})
    return cls(own, 1, 1, [1.0, 5.0]).eval()


def test_dot_by_hand() -> None:
    model = small("dot")
    weights(model, user_factors=[[1.0, 2.0]], item_factors=[[3.0, 0.5]])
    assert model(*torch.zeros(2, 1, dtype=torch.int64)).item() == 4.0


def test_dotbias_by_hand() -> None:
    model = small("dotbias")
    weights(
        model,
        user_factors=[[1.0, 2.0]],
        item_factors=[[3.0, 0.5]],
        user_bias=[[-5.0]],
        item_bias=[[float(np.log(3)) + 1.0]],
    )
    # 4 - 5 + 1 + log 3 -> sigmoid 3/4 -> 1 + 4 * 3/4
    assert model(*torch.zeros(2, 1, dtype=torch.int64)).item() == pytest.approx(4.0, abs=1e-6)


def test_dotbias_ensemble_by_hand() -> None:
    model = small("dotbias_ensemble", n_members=2)
    weights(
        model,
        user_factors=[[1.0, 2.0, 1.0, 1.0]],
        item_factors=[[3.0, 0.5, 1.0, -1.0]],
        user_bias=[[-5.0, 0.0]],
        item_bias=[[float(np.log(3)) + 1.0, 0.0]],
    )
    # the first member as of dotbias, 4; the second 1 - 1 -> sigmoid 1/2 -> 1 + 4 / 2
    assert model(*torch.zeros(2, 1, dtype=torch.int64)).item() == pytest.approx(3.5, abs=1e-6)


def test_the_offset_is_the_logit_of_the_mean_less_the_more_ratings_a_user_has() -> None:
    settings = {
        "name": "dotbias_ensemble",
        "n_members": 2,
        "n_factors": 2,
        "init_range": [0.0, 0.1],
    }
    model = ModelSpec(settings | {"offset_damping": 3.0}, 3, 1, (1.0, 101.0)).build("test")
    users, values = np.array([0, 0, 0, 1]), np.array([71, 81, 91, 61], np.float32)
    train = Ratings(users, np.zeros(4, np.int64), values, None, np.arange(4))
    model.before_training(train)
    logit = np.log(3)  # the mean, 76, is at three fourths of the range
    expected = [[logit / 2], [logit * 3 / 4], [logit]]
    np.testing.assert_allclose(model.user_offset, expected, rtol=1e-5)
    weights(
        model,
        user_factors=[[1.0, 2, 3, 4], [3.0, 2, 1, 0], [9.0, 9, 9, 9]],
        user_bias=[[0.5, 1], [1.5, -1], [9.0, 9]],
        item_factors=[[0.0] * 4],
        item_bias=[[0.0] * 2],
    )
    model.after_epoch(train)
    np.testing.assert_allclose(model.user_factors.weight[2].detach(), [2, 2, 2, 2])
    level = np.array([1.0, 0]) + logit * 5 / 8
    np.testing.assert_allclose(model.user_bias.weight[2].detach(), level - logit, rtol=1e-4)
    np.testing.assert_allclose(model.user_bias.weight[:2].detach(), [[0.5, 1], [1.5, -1]])
    predicted = base.predict(model, np.array([2]), np.array([0]))
    assert predicted[0] == pytest.approx(1 + 100 * (1 / (1 + np.exp(-level))).mean(), rel=1e-4)


@pytest.mark.parametrize(("value", "logit"), [(1, -np.log(99)), (101, np.log(99))])
def test_where_all_ratings_are_an_end_of_the_range_the_offset_is_a_hundredth_from_it(
    value: int, logit: float
) -> None:
    settings = {"n_members": 1, "n_factors": 2, "init_range": [0.0, 0.1], "offset_damping": 3.0}
    spec = ModelSpec({"name": "dotbias_ensemble", **settings}, 2, 1, (1.0, 101.0))
    model, zero = spec.build("test"), np.zeros(1, np.int64)
    model.before_training(Ratings(zero, zero, np.full(1, value, np.float32), None, zero))
    np.testing.assert_allclose(model.user_offset, [[logit * 3 / 4], [logit]], rtol=1e-5)


def test_an_ensemble_saved_before_there_were_offsets_predicts_as_it_did(tmp_path: Path) -> None:
    settings = {
        "name": "dotbias_ensemble",
        "n_members": 2,
        "n_factors": 2,
        "init_range": [-1.0, 1.0],
    }
    spec = ModelSpec(settings, 7, 9, (1.0, 5.0))
    model = spec.build("test")
    checkpoints.save(tmp_path, model, spec)
    tables = load_file(tmp_path / "weights.safetensors")
    assert set(tables) == {f"{s}_{t}.weight" for s in ("user", "item") for t in ("factors", "bias")}
    users, items = (tensor.numpy() for tensor in indices(9))
    by_member = [tables[f"{side}_factors.weight"].unflatten(1, (2, 2)) for side in ("user", "item")]
    dots = (by_member[0][users] * by_member[1][items]).sum(2)
    logits = dots + tables["user_bias.weight"][users] + tables["item_bias.weight"][items]
    expected = 1 + 4 * torch.sigmoid(logits).mean(1)
    loaded, answers = checkpoints.load(tmp_path), load_answers(tmp_path)
    assert answers is not None
    for predicted in (base.predict(loaded, users, items), answers.predict(users, items)[0]):
        np.testing.assert_allclose(predicted, expected, rtol=1e-5)


def test_offsets_are_saved_with_the_weights(tmp_path: Path) -> None:
    section = SECTIONS["train_dotbias_ensemble"]
    model, spec = built(section), spec_of(section)
    model.get_buffer("user_offset").normal_()
    checkpoints.save(tmp_path, model, spec)
    users, items = (tensor.numpy() for tensor in indices(9))
    same = base.predict(checkpoints.load(tmp_path), users, items)
    np.testing.assert_array_equal(same, base.predict(model, users, items))
    model.get_buffer("user_offset").zero_()
    assert np.abs(same - base.predict(model, users, items)).max() > 0.1


def test_embnet_by_hand() -> None:
    model = small("embnet", n_hidden=2, dropout=[0.5, 0.5], range_margin=0.5)
    weights(model, user_factors=[[1.0, 2.0]], item_factors=[[3.0, 0.5]])
    with torch.no_grad():
        model.hidden.weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0]]))
        model.hidden.bias.copy_(torch.tensor([-5.0, 0.5]))
        model.output.weight.copy_(torch.tensor([[float(np.log(4)), 7.0]]))
        model.output.bias.zero_()
    # hidden relu(6 - 5, -1 + 0.5) = (1, 0) -> log 4 -> sigmoid 4/5 -> 0.5 + 5 * 4/5
    pair = torch.zeros(2, 1, dtype=torch.int64)
    assert model(*pair).item() == pytest.approx(4.5, abs=1e-6)
    model.train()
    model.dropout[0].p, model.dropout[1].p = 1.0, 0.0
    # hidden relu(-5, 0.5) = (0, 0.5) -> 3.5
    assert model(*pair).item() == pytest.approx(0.5 + 5 / (1 + np.exp(-3.5)), abs=1e-6)
    model.dropout[0].p, model.dropout[1].p = 0.0, 1.0
    assert model(*pair).item() == pytest.approx(3.0, abs=1e-6)
