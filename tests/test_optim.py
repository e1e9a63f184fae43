import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from cf.core import config
from cf.training import optim
from cf.training.checkpoint import ModelSpec
from cf.training.fast_gradients import fast_gradients
from tests.project import printed_by


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_updates_equal_torchs_own(name: str, weight_decay: float) -> None:
    torch.manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.zeros(n)) for n in (5, 3)] for _ in range(2))
    if name == "sgd":
        optimizer: optim.Optimizer = optim.SGD(ours, 0.9, weight_decay)
        expected: torch.optim.Optimizer = torch.optim.SGD(
            theirs, 0.1, momentum=0.9, weight_decay=weight_decay
        )
    else:
        optimizer = optim.Adam(ours, (0.9, 0.99), weight_decay)
        expected = torch.optim.Adam(theirs, 0.1, (0.9, 0.99), weight_decay=weight_decay)
    for step in range(5):
        for each in (optimizer, expected):
            each.zero_grad()
            each.param_groups[0]["lr"] = 0.1 / (step + 1)
        reached = (0, 1) if step % 2 else (0,)  # the second has no gradient at every other step
        for i in reached:
            ours[i].grad = torch.randn(ours[i].shape)
            theirs[i].grad = ours[i].grad.clone()
        optimizer.step()
        expected.step()
    for param, their_param in zip(ours, theirs, strict=True):
        torch.testing.assert_close(param, their_param, rtol=1e-5, atol=1e-6)


def assert_same_steps(
    optimizer: optim.Optimizer,
    ours: list[nn.Parameter],
    expected: torch.optim.Optimizer,
    theirs: list[nn.Parameter],
) -> None:
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape)
            other.grad = mine.grad.clone()
        optimizer.step()
        expected.step()
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def rowwise(
    params: list[nn.Parameter], decay: float, tables: list[nn.Parameter], parts: int = 1
) -> optim.RowwiseAdagrad:
    optimizer = optim.RowwiseAdagrad(params, 1e-8, decay, tables, parts)
    optimizer.param_groups[0]["lr"] = 0.1
    return optimizer


def test_rowwise_adagrad_is_torchs_own_where_rows_are_single_numbers() -> None:
    torch.manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.ones(n, 1)) for n in (5, 3)] for _ in range(2))
    optimizer = rowwise(ours, 0.1, tables=ours[:1])  # the other one gets plain Adagrad
    expected = torch.optim.Adagrad(theirs, 0.1, eps=1e-8, weight_decay=0.1)
    assert_same_steps(optimizer, ours, expected, theirs)


@pytest.mark.parametrize("fast", [True, False])
def test_rowwise_adagrad_updates_the_rows_of_a_batch_once_each(fast: bool) -> None:
    settings = {"name": "dotbias_ensemble", "n_members": 2, "n_factors": 3}
    model = ModelSpec(settings | {"init_range": [-0.5, 0.5]}, 7, 9, (1.0, 5.0)).build("test")
    decay, parts = 0.1, 2
    optimizer = optim.build(
        config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=decay), model, 1
    )
    assert isinstance(optimizer, optim.RowwiseAdagrad)
    optimizer.param_groups[0]["lr"] = 0.1
    twin = copy.deepcopy(model)
    squares = {name: torch.zeros(len(param), parts) for name, param in twin.named_parameters()}
    for users, items in ([1, 1, 4], [2, 3, 3]), ([4, 1, 4], [3, 3, 0]):
        batch = torch.tensor(users), torch.tensor(items), torch.tensor([2.0, 3.0, 5.0])
        with fast_gradients(model) if fast else nullcontext() as rows_looked_up:
            if rows_looked_up:
                optimizer.rows_looked_up = rows_looked_up
            optimizer.zero_grad()
            loss = model.loss(*batch)
            loss.backward(torch.ones_like(loss))
            optimizer.step()
        twin.zero_grad()
        twin.loss(*batch).sum().backward()
        for name, param in twin.named_parameters():
            assert param.grad is not None
            for row in set(users if name.startswith("user") else items):  # by the formula
                blocks = zip(
                    param.grad[row].chunk(parts), param.data[row].chunk(parts), strict=True
                )
                for part, (gradient, values) in enumerate(blocks):
                    gradient = gradient + decay * values
                    squares[name][row, part] += gradient.square().mean()
                    values -= 0.1 * gradient / (squares[name][row, part].sqrt() + 1e-8)
        for mine, other in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def test_rows_that_a_batch_does_not_look_up_stay_to_the_bit() -> None:
    settings = {"name": "embnet", "n_factors": 3, "n_hidden": 4, "dropout": [0.0, 0.0]}
    settings |= {"init_range": [-0.5, 0.5], "range_margin": 0.5}
    model = ModelSpec(settings, 7, 9, (1.0, 5.0)).build("test")
    before = copy.deepcopy(model.state_dict())
    chosen = config.RowwiseAdagrad(name="rowwise_adagrad", weight_decay=0.1)
    optimizer = optim.build(chosen, model, 1)
    optimizer.param_groups[0]["lr"] = 0.1
    with fast_gradients(model) as rows_looked_up:
        assert isinstance(optimizer, optim.RowwiseAdagrad)
        optimizer.rows_looked_up = rows_looked_up
        model.loss(torch.tensor([2, 2]), torch.tensor([5, 3]), torch.tensor([4.0, 2.0])).backward()
        optimizer.step()
    for name, rows in ("user_factors.weight", {2}), ("item_factors.weight", {3, 5}):
        changed = (model.state_dict()[name] != before[name]).any(1).nonzero()[:, 0]
        assert set(changed.tolist()) == rows
    dense = {name: value for name, value in model.named_parameters() if "factors" not in name}
    assert all((value != before[name]).all() for name, value in dense.items() if value.grad.all())


def test_rowwise_adagrad_takes_a_table_without_columns() -> None:
    """As of the features of items, where a data set has none."""
    table = nn.Parameter(torch.zeros(3, 0))
    optimizer = optim.RowwiseAdagrad([table], 1e-8, 0.1, [table])
    table.grad = torch.zeros(3, 0)
    optimizer.rows_looked_up = lambda weight: torch.tensor([0, 2])
    optimizer.step()
    assert optimizer.state[0][0].tolist() == [[0.0]] * 3


def test_each_parameter_has_its_own_decay() -> None:
    torch.manual_seed(0)
    ours, theirs = ([nn.Parameter(torch.ones(n)) for n in (5, 3, 2)] for _ in range(2))
    optimizer = optim.Adam(ours, (0.9, 0.99), [0.1, 0.5, 0.1])
    groups = [{"params": theirs[::2]}, {"params": theirs[1:2], "weight_decay": 0.5}]
    expected = torch.optim.Adam(groups, 0.1, (0.9, 0.99), weight_decay=0.1)
    optimizer.param_groups[0]["lr"] = 0.1
    assert_same_steps(optimizer, ours, expected, theirs)


@pytest.mark.parametrize("name", ["sgd", "sgd without momentum", "adam", "rowwise_adagrad"])
def test_no_step_is_taken_until_the_rate_is_set_and_gradients_are_dropped(name: str) -> None:
    weight = nn.Parameter(torch.ones(3, 2))
    optimizer = {
        "sgd": lambda: optim.SGD([weight], 0.9, 0.1),
        "sgd without momentum": lambda: optim.SGD([weight], 0.0, 0.1),
        "adam": lambda: optim.Adam([weight], (0.9, 0.99), 0.1),
        "rowwise_adagrad": lambda: optim.RowwiseAdagrad([weight], 1e-8, 0.1, [weight]),
    }[name]()
    weight.grad = torch.ones(3, 2)
    optimizer.step()
    assert (weight == 1).all()
    optimizer.zero_grad()
    assert weight.grad is None
    optimizer.param_groups[0]["lr"] = 0.1
    optimizer.step()
    assert (weight == 1).all(), "no gradient"


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_parameters_of_a_decay_may_all_be_without_gradients(name: str) -> None:
    reached, left = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    both, decays = [reached, left], [0.0, 0.1]
    optimizer = (
        optim.SGD(both, 0.9, decays) if name == "sgd" else optim.Adam(both, (0.9, 0.9), decays)
    )
    optimizer.param_groups[0]["lr"] = 0.1
    reached.grad = torch.ones(3)
    optimizer.step()
    assert (reached < 1).all()
    assert (left == 1).all()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (config.Adam(name="adam", betas=[0.5, 0.9], total_weight_decay=8.0), 0.02),
        (config.SGD(name="sgd", momentum=0.9, weight_decay=0.02), 0.02),
    ],
)
def test_a_models_scales_multiply_the_decay(
    settings: config.Adam | config.SGD, expected: float
) -> None:
    model = {"name": "dotbias_ensemble", "n_members": 2, "n_factors": 3, "init_range": [0.0, 0.1]}
    built = ModelSpec(model | {"user_bias_decay": 0.25}, 7, 9, (1.0, 5.0)).build("test")
    names = [name for name, _ in built.named_parameters()]
    decays = dict(zip(names, optim.build(settings, built, 400).decays, strict=True))
    assert decays.pop("user_bias.weight") == pytest.approx(expected / 4)
    assert list(decays.values()) == pytest.approx([expected] * 3)


def test_a_step_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch; from cf.training.optim import Adam;"
        "weight = torch.nn.Parameter(torch.ones(3)); weight.sum().backward();"
        "Adam([weight], (0.9, 0.999), 0.0).step(); print('torch._dynamo' in sys.modules)"
    )
    assert printed_by(code) == "False"


def test_rowwise_adagrad_takes_a_gradient_of_zeros_and_indices_of_32_bits() -> None:
    param = nn.Parameter(torch.ones(3, 2))
    optimizer = optim.RowwiseAdagrad([param], 1e-8, [0.0], [param])
    optimizer.param_groups[0]["lr"] = 0.1
    param.grad = torch.zeros(3, 2)
    optimizer.step()
    assert (param == 1).all()
    param.grad = torch.tensor([[1.0, 1], [0, 0], [0, 0]])
    optimizer.rows_looked_up = lambda weight: torch.tensor([0], dtype=torch.int32)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.tensor([[0.9, 0.9], [1, 1], [1, 1]]))
