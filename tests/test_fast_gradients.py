"""The fast path gives autograd's gradients, whatever a model does with its tables."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cf.core.config import BaseConfig, Schedule
from cf.core.ratings import Ratings
from cf.models import base
from cf.training import fast_gradients as fast
from cf.training.checkpoint import ModelSpec
from cf.training.fast_gradients import fast_gradients
from cf.training.fit import fit
from cf.training.optim import RowwiseAdagrad
from tests.devices import GPU, SimulatedGpu

RANGE = [-0.5, 0.5]
MODELS = {
    "dot": {},
    "dotbias": {},
    "dotbias of one factor": {"n_factors": 1},
    "dotbias_ensemble": {"n_members": 2},
    "dotbias_ensemble with offsets": {"n_members": 3, "offset_damping": 5.0},
    "dotbias_ensemble of one": {"n_members": 1, "n_factors": 1},
    "embnet": {"n_hidden": 3, "dropout": [0.0, 0.0], "range_margin": 0.5},
}
EDITS: dict[str, Callable[[base.Model, Tensor], Tensor]] = {
    "another formula": lambda model, predicted: predicted + 0.01,
    "a bound that small weights do not reach": lambda model, predicted: predicted.clamp(2.0, 3.5),
    "dropout": lambda model, predicted: nn.functional.dropout(predicted, 0.1, model.training),
    "a gradient stopped": lambda model, predicted: predicted.detach() + 0 * predicted,
}


class Unusual(base.Model):
    """Two items a look-up, a weight used directly, a tied one, and nn.Embedding's options."""

    def __init__(self) -> None:
        super().__init__(BaseConfig(), 7, 9, [1.0, 5.0])
        self.factors = base.embedding(9, 4, RANGE)
        self.direct = base.embedding(9, 4, RANGE)
        self.padded = nn.Embedding(9, 4, padding_idx=1)
        self.frozen = base.embedding(9, 4, RANGE).requires_grad_(False)
        self.unused = base.embedding(9, 4, RANGE)
        self.tied = base.embedding(9, 4, RANGE)
        self.tied.weight = self.factors.weight

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        neighbors = self.factors(torch.stack([items, (items + 1) % 9], 1)).sum(1)
        rows = self.direct(items) * self.frozen(items) + self.padded(items) + self.direct(users)
        return (neighbors * rows).sum(1) + self.tied(users).sum(1)

    def loss(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        return super().loss(users, items, ratings) + self.direct.weight.square().mean()


def build(name: str) -> base.Model:
    torch.manual_seed(0)
    if name == "unusual":
        return Unusual()
    settings = {"name": name.split()[0], "n_factors": 4, "init_range": RANGE, **MODELS[name]}
    model = ModelSpec(settings, n_users=7, n_items=9, rating_range=(1.0, 5.0)).build("test")
    if "offset_damping" in settings:
        model.get_buffer("user_offset").normal_()
    return model


def batch(n: int) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randint(7, (n,)), torch.randint(9, (n,)), torch.rand(n) * 4 + 1


def backward(model: base.Model, batches: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    for users, items, ratings in batches:
        loss = model.loss(users, items, ratings)
        loss.backward(torch.ones_like(loss))
    return loss.detach()


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("name", [*MODELS, "unusual"])
def test_gradients_equal_autograds(name: str, numba: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not numba:
        monkeypatch.setattr(fast, "batch_kernel", lambda: None)
    model, twin = build(name), build(name)
    n_reached = 0
    with fast_gradients(model):
        for n_batches in (1, 2, 1, 1):  # with two, gradients add up
            batches = [batch(5) for _ in range(n_batches)]
            for each in (model, twin):
                each.zero_grad()
            torch.testing.assert_close(backward(model, batches), backward(twin, batches))
            for (key, param), expected in zip(
                model.named_parameters(), twin.parameters(), strict=True
            ):
                assert (param.grad is None) == (expected.grad is None), key
                if param.grad is not None:
                    torch.testing.assert_close(param.grad, expected.grad, rtol=1e-5, atol=1e-6)
                    n_reached += 1
    assert n_reached


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("name", [*MODELS, "unusual"])
def test_rows_looked_up_are_those_with_a_gradient(
    name: str, numba: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not numba:
        monkeypatch.setattr(fast, "batch_kernel", lambda: None)
    model = build(name)
    n_known = 0
    with fast_gradients(model) as rows_looked_up:
        for _ in range(2):
            model.zero_grad()
            backward(model, [batch(3), batch(2)])
            for weight in model.parameters():
                rows = rows_looked_up(weight)
                if rows is not None:
                    assert weight.grad is not None
                    n_known += 1
                    assert set(weight.grad.any(1).nonzero()[:, 0].tolist()) <= set(rows.tolist())
    tables = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    assert n_known == (0 if name == "unusual" else 2 * len(tables))
    model.zero_grad()
    backward(model, [batch(5)])  # by autograd: gradients as large as the tables
    assert all(rows_looked_up(weight) is None for weight in model.parameters())


def test_rows_are_told_apart_where_that_costs_no_waiting() -> None:
    assert fast.distinct(torch.tensor([3, 1, 3])).tolist() == [1, 3]
    with SimulatedGpu():
        assert fast.distinct(torch.tensor([3, 1, 3]).to(GPU)).tolist() == [3, 1, 3]


def test_nothing_of_it_is_left_after_the_block() -> None:
    model = build("dotbias")
    with fast_gradients(model):
        assert "loss" in vars(model)
        backward(model, [batch(5)])
    assert "loss" not in vars(model)
    for module in model.modules():
        assert "forward" not in vars(module)
    before = model.state_dict()["item_bias.weight"].clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.zero_grad()
    backward(model, [batch(5)])
    optimizer.step()
    assert not torch.equal(model.state_dict()["item_bias.weight"], before)


def test_a_subclass_computes_its_own_loss() -> None:
    model = build("dotbias")
    model.__class__ = type("Mine", (type(model),), {})
    with fast_gradients(model):
        assert "loss" not in vars(model)


@pytest.mark.parametrize("name", MODELS)
def test_a_closed_form_holds_and_nothing_is_left_of_the_comparison(name: str) -> None:
    model, state = build(name), torch.get_rng_state()
    given = batch(5)
    drawn = torch.get_rng_state()
    assert not torch.equal(drawn, state)
    assert fast.closed_form_holds(model, given)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert all(parameter.grad is None for parameter in model.parameters())
    twin = build(name)
    assert torch.equal(torch.get_rng_state(), state)
    for key, value in model.state_dict().items():
        assert torch.equal(value, twin.state_dict()[key]), key


def test_a_closed_form_holds_where_all_weights_are_zero() -> None:
    model = build("dotbias")
    for parameter in model.parameters():
        parameter.data.zero_()
    assert fast.closed_form_holds(model, batch(5))
    assert not any(parameter.any() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("edit", "holds"),
    [
        (lambda x: x * (1 + 3e-6), True),
        (lambda x: x * (1 + 1e-3), False),
        (lambda x: torch.where(x > 3.5, x * (1 + 2e-4), x), True),  # of large weights alone
        (lambda x: torch.where(x > 3.5, x * (1 + 1e-1), x), False),
    ],
)
def test_a_closed_form_is_compared_to_what_rounding_leaves(
    edit: Callable[[Tensor], Tensor], holds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build("dotbias")
    kind, forward = type(model), type(model).forward
    users, items = torch.arange(40) % 7, torch.arange(40) % 9
    for parameter in model.parameters():
        parameter.data.mul_(0.1)
    assert model(users, items).max() < 3.5
    monkeypatch.setattr(kind, "forward", lambda self, *pair: edit(forward(self, *pair)))
    assert fast.closed_form_holds(model, (users, items, torch.full((40,), 2.0))) == holds


@pytest.mark.parametrize(
    "options",
    [{"padding_idx": 0}, {"max_norm": 1.0}, {"scale_grad_by_freq": True}, {"sparse": True}],
)
def test_tables_with_an_option_or_fixed_are_left_to_pytorch(options: dict[str, Any]) -> None:
    model = build("dotbias")
    plain = len(fast.tables_of(model))
    model.extra = nn.Embedding(3, 2)
    assert [table.module for table in fast.tables_of(model)][plain:] == [model.extra]
    model.extra.requires_grad_(False)
    assert len(fast.tables_of(model)) == plain
    model.extra = nn.Embedding(3, 2, **options)
    assert len(fast.tables_of(model)) == plain
    model.extra = type("Mine", (nn.Embedding,), {})(3, 2)
    assert len(fast.tables_of(model)) == plain


@pytest.mark.parametrize(
    ("name", "known"), [("dot", False), ("dotbias", True), ("embnet", False), ("unusual", False)]
)
def test_in_64_bits_only_pytorchs_operators_have_a_closed_form(name: str, known: bool) -> None:
    pytest.importorskip("numba")
    for model, expected in ((build(name), name != "unusual"), (build(name).double(), known)):
        with fast_gradients(model):
            assert ("loss" in vars(model)) == expected
        with fast_gradients(model, closed_form=False):
            assert "loss" not in vars(model)
        next(model.parameters()).requires_grad_(False)
        with fast_gradients(model):
            assert "loss" not in vars(model)


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("name", ["dot", "dotbias", "dotbias_ensemble", "embnet"])
def test_a_model_whose_file_was_edited_is_trained_as_edited(
    name: str, edit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(build(name))
    forward, change = kind.forward, EDITS[edit]
    monkeypatch.setattr(kind, "forward", lambda self, *pair: change(self, forward(self, *pair)))
    members = vars(kind).get("members")
    if members:  # the ensemble's loss is of these
        monkeypatch.setattr(kind, "members", lambda self, *pair: change(self, members(self, *pair)))
    assert not fast.closed_form_holds(build(name), batch(5))
    users, items, ratings = (each.numpy() for each in batch(40))
    train = Ratings(users, items, ratings, None, np.arange(40))
    schedule = Schedule(n_epochs=[2], learning_rate=0.1, anneal="none")
    trained = []
    for known in (kind, type("Unknown", (kind,), {})):
        model = build(name)
        model.__class__ = known
        optimizer = torch.optim.SGD(model.parameters())
        list(fit(model, train, train, optimizer, schedule, batch_size=8))
        trained.append(model.state_dict())
    for key, value in trained[0].items():
        assert torch.equal(value, trained[1][key]), key


@pytest.mark.parametrize("name", ["dot", "dotbias", "embnet"])
def test_steps_are_of_the_closed_form_where_it_holds(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the model itself computes no more than the two losses that are compared."""
    pytest.importorskip("numba")
    model, computed = build(name), list[int]()
    forward = type(model).forward

    def counted(self: base.Model, users: Tensor, items: Tensor) -> Tensor:
        if self.training:
            computed.append(len(users))
        return forward(self, users, items)

    monkeypatch.setattr(type(model), "forward", counted)
    users, items, ratings = (each.numpy() for each in batch(300))
    train = Ratings(users, items, ratings, None, np.arange(300))
    schedule = Schedule(n_epochs=[2], learning_rate=0.01, anneal="none")
    list(fit(model, train, train, torch.optim.SGD(model.parameters()), schedule, batch_size=8))
    assert computed == [256, 256]


def test_compiled_epochs_are_of_models_whose_closed_form_holds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("numba")
    users, items, ratings = (each.numpy() for each in batch(40))
    train = Ratings(users, items, ratings, None, np.arange(40))
    schedule = Schedule(n_epochs=[1], learning_rate=0.1, anneal="none")

    def losses() -> list[float]:
        torch.manual_seed(1)
        model = build("dotbias")
        tables = list(model.parameters())
        optimizer = RowwiseAdagrad(tables, 1e-8, 0.0, tables)
        return [epoch.train_loss for epoch in fit(model, train, train, optimizer, schedule, 1)]

    kind = type(build("dotbias"))
    plain, forward = losses(), kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, *pair: forward(self, *pair) + 1.0)
    assert abs(losses()[0] - plain[0]) > 0.1


def test_the_networks_gradients_are_autograds_to_the_bit() -> None:
    settings = {"name": "embnet", "n_factors": 50, "init_range": RANGE, "n_hidden": 10}
    settings |= {"dropout": [0.05, 0.5], "range_margin": 0.5}
    model = ModelSpec(settings, n_users=7, n_items=9, rating_range=(1.0, 5.0)).build("test")
    each = batch(64)
    with fast_gradients(model):
        torch.manual_seed(1)
        loss, state = backward(model, [each]), torch.get_rng_state()
        found = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    torch.manual_seed(1)
    assert torch.equal(backward(model, [each]), loss)
    assert torch.equal(torch.get_rng_state(), state)
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_classes_with_a_closed_form_exist() -> None:
    for path in (*fast.CLOSED_FORMS, fast.DOT, fast.EMBNET):
        module, name = path.rsplit(".", 1)
        found: Callable[..., object] = getattr(importlib.import_module(module), name)
        assert found.__name__ == name
