import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cf.bayes.sample import Sweep
from cf.core import config
from cf.core.errors import InputError
from cf.core.ratings import Ratings
from cf.models import base
from cf.training import device as devices
from cf.training import history
from cf.training import optim as optimizers
from cf.training.checkpoint import ModelSpec
from cf.training.fit import fit
from cf.training.history import Epoch
from cf.training.schedule import learning_rates

Pair = tuple[Ratings, Ratings]


def dotbias(n_factors: int = 3) -> base.Model:
    settings = {"name": "dotbias", "n_factors": n_factors, "init_range": [-0.3, 0.3]}
    return ModelSpec(settings, n_users=60, n_items=80, rating_range=(0.5, 5.0)).build("test")


def schedule(n_epochs: int = 3, rate: float = 0.05) -> config.Schedule:
    return config.Schedule(n_epochs=[n_epochs], learning_rate=rate, anneal="none")


def trained(planted: Pair, seed: int = 0, n_epochs: int = 3, rate: float = 0.05) -> list[Epoch]:
    devices.prepare(torch.device("cpu"), n_threads=1, seed=seed)
    model = dotbias()
    optimizer = optimizers.Adam(model, (0.9, 0.999), weight_decay=0.0)
    return list(fit(model, *planted, optimizer, schedule(n_epochs, rate), batch_size=64))


def losses(epochs: list[Epoch]) -> list[tuple[float, float]]:
    return [(epoch.train_loss, epoch.valid_loss) for epoch in epochs]


def test_planted_ratings_are_recovered(planted: Pair) -> None:
    last = trained(planted, n_epochs=30)[-1]
    assert last.valid_loss < 0.02  # the noise alone is 0.0025, the mean rating's error above 0.9
    assert planted[1].values.var() > 0.5


def test_the_same_seed_gives_the_same_history_to_the_bit(planted: Pair) -> None:
    assert losses(trained(planted, seed=1)) == losses(trained(planted, seed=1))
    assert losses(trained(planted, seed=1)) != losses(trained(planted, seed=2))


def test_the_reported_train_loss_weighs_a_short_last_batch_as_what_it_is(planted: Pair) -> None:
    train = planted[0].take(np.arange(65))
    train = replace(train, values=np.where(np.arange(65) == 0, 5, 1).astype(np.float32))
    epochs = trained((train, planted[1]), n_epochs=1, rate=1e-12)
    devices.prepare(torch.device("cpu"), n_threads=1, seed=0)
    predicted = base.predict(dotbias(), train.users, train.items)
    assert epochs[0].train_loss == pytest.approx(
        float(((predicted - train.values) ** 2).mean()), rel=1e-5
    )


def test_every_rating_is_seen_once_an_epoch(planted: Pair) -> None:
    seen: list[int] = []
    model = dotbias()
    optimizer = optimizers.SGD(model, momentum=0.0, weight_decay=0.0)
    list(fit(model, *planted, optimizer, schedule(2), 64, on_batch=seen.append))
    assert sum(seen) == 2 * len(planted[0])
    assert set(seen[:-1]) <= {64, len(planted[0]) % 64}


def test_divergence_says_what_to_do(planted: Pair) -> None:
    settings = {"name": "dot", "n_factors": 3, "init_range": [0.0, 1.0]}
    model = ModelSpec(settings, 60, 80, (0.5, 5.0)).build("test")
    optimizer = optimizers.SGD(model, momentum=0.9, weight_decay=0.0)
    with pytest.raises(InputError, match=r"diverged: in epoch 1 .* Lower the learning_rate"):
        list(fit(model, *planted, optimizer, schedule(1, rate=1e6), batch_size=64))


class Plain(torch.nn.Module):
    """DotBias with nn.Embedding, starting where a model of ours stands."""

    def __init__(self, model: base.Model) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleDict()
        for name, module in model.named_modules():
            if isinstance(module, base.Embedding):
                weight = module.weight.clone().reshape(len(module.weight), -1)
                self.tables[name] = torch.nn.Embedding.from_pretrained(weight, freeze=False)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        p, q, b, c = (
            self.tables[name](indices)
            for name, indices in {
                "user_factors": users,
                "item_factors": items,
                "user_bias": users,
                "item_bias": items,
            }.items()
        )
        return torch.sigmoid((p * q).sum(1) + (b + c)[:, 0]) * 4.5 + 0.5


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_updates_equal_pytorchs_own(name: str, weight_decay: float) -> None:
    torch.manual_seed(0)
    model = dotbias()
    twin = Plain(model)
    if name == "sgd":
        ours: optimizers.Optimizer = optimizers.SGD(model, 0.9, weight_decay)
        theirs: torch.optim.Optimizer = torch.optim.SGD(
            twin.parameters(), 0.1, momentum=0.9, weight_decay=weight_decay
        )
    else:
        ours = optimizers.Adam(model, (0.9, 0.99), weight_decay)
        theirs = torch.optim.Adam(twin.parameters(), 0.1, (0.9, 0.99), weight_decay=weight_decay)
    for step in range(4):
        rate = 0.1 / (step + 1)
        users, items = torch.tensor([1, 1, step]), torch.tensor([0, step, 5])
        values = torch.tensor([1.0, 5.0, 3.0])
        ours.step(users, items, values, rate)
        theirs.param_groups[0]["lr"] = rate
        theirs.zero_grad()
        ((twin(users, items) - values) ** 2).mean().backward()
        theirs.step()
    for table, theirs_table in twin.tables.items():
        torch.testing.assert_close(
            model.get_submodule(table).weight,
            theirs_table.weight.detach().reshape(model.get_submodule(table).weight.shape),
            rtol=1e-5,
            atol=1e-6,
        )


def test_training_does_not_import_the_compiler(pytestconfig: pytest.Config) -> None:

    code = (
        "import sys; from tests.test_training import *; model = dotbias();"
        "step = optimizers.Adam(model, (0.9, 0.999), 0.0).step;"
        "step(torch.tensor([0]), torch.tensor([0]), torch.tensor([3.0]), 0.1);"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=pytestconfig.rootpath,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_phases_each_have_their_rate() -> None:
    two = config.Schedule(n_epochs=[1, 2], learning_rate=[0.1, 0.01], anneal="none")
    assert [rates.tolist() for rates in learning_rates(two, 2)] == [[0.1] * 2, *[[0.01] * 2] * 2]


def test_cosine_falls_within_a_phase_and_restarts() -> None:
    cosine = config.Schedule(n_epochs=[1, 2], learning_rate=2.0, anneal="cosine")
    first, second, third = (rates.tolist() for rates in learning_rates(cosine, 2))
    assert first == pytest.approx([2.0, 1.0])
    assert [*second, *third] == pytest.approx([2.0, 1 + np.sqrt(0.5), 1.0, 1 - np.sqrt(0.5)])


def test_warm_up_runs_the_first_steps_at_a_hundredth() -> None:
    warm = config.Schedule(n_epochs=[1, 1], learning_rate=2.0, anneal="cosine", warm_up=0.25)
    first, second = learning_rates(warm, 4)
    assert first.tolist() == pytest.approx([0.02, 1 + np.sqrt(0.5), 1.0, 1 - np.sqrt(0.5)])
    assert second[0] == 2.0


def test_history_holds_only_what_repeats(tmp_path: Path) -> None:
    epochs = [Epoch(1, 0.5, 0.25, 0.1, seconds=1.0), Epoch(2, 0.4, 0.2, 0.1, seconds=2.0)]
    history.write(tmp_path / "dot.csv", epochs)
    assert (tmp_path / "dot.csv").read_text() == (
        "epoch,train_loss,valid_loss,learning_rate\n1,0.5,0.25,0.1\n2,0.4,0.2,0.1\n"
    )
    history.write(tmp_path / "b.csv", [Sweep(1, 0.5, 0.25, noise_precision=2.0, seconds=1.0)])
    assert (tmp_path / "b.csv").read_text() == (
        "epoch,train_loss,valid_loss,noise_precision\n1,0.5,0.25,2.0\n"
    )


def test_history_survives_the_disk_and_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "dot.csv"
    history.write(path, [Epoch(1, 0.5, 0.25, 0.1, seconds=1.0)])
    assert {name: column.tolist() for name, column in history.read(path).items()} == {
        "epoch": [1.0],
        "train_loss": [0.5],
        "valid_loss": [0.25],
    }
    path.write_text("epoch,train_loss,valid_loss,learning_rate\n1,0.5,much,0.1\n")
    with pytest.raises(InputError, match=r"dot.csv: expected numbers .* 'much'.* `dvc repro`"):
        history.read(path)
    path.unlink()
    with pytest.raises(InputError, match=r"dot.csv: expected numbers .* `dvc repro`"):
        history.read(path)
