"""What a two-layer network over bayesmf's features reaches: on a slice of train, then on valid.

Its settings were chosen on the slice.
Usage: python -m benchmarks.side_information_network [MEMBERS]
"""

import sys
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from cf.bayes import side_information
from cf.bayes.side_information import Feature
from cf.core import config, io, paths
from cf.core.config import Gibbs, Sampling
from cf.core.errors import exit_on_input_error
from cf.core.ratings import Indices, Provenance, Ratings, Stars
from cf.data import split as splitting
from cf.evaluation import metrics
from cf.training import device as devices

SLICE = 0.2  # of the training rows, to judge on
N_FACTORS, N_HIDDEN, DROPOUT, MARGIN = 10, 32, 0.1, 0.5
N_EPOCHS, BATCH_SIZE, LEARNING_RATE = 4, 1024, 0.01
DECAYS = {"factors": 0.0002, "features": 0.0001, "days": 0.00001, "layers": 0.00001}
DAYS_PER_USER = 1 << 20  # more than there are


class Network(nn.Module):
    """low - m + (high - low + 2m) · sigmoid(w · relu(W [p_u, q_i, x_u, x_i] + d_ut + a) + b)

    Vectors x_u and x_i are what is known of user and item, d_ut is of the user's day, or 0 where
    train does not have it. The first layer's parts stand side by side.
    """

    def __init__(self, known: tuple[Tensor, Tensor] | None, facts: Provenance, n_days: int) -> None:
        super().__init__()
        sides = facts.n_users, facts.n_items
        self.factors = nn.ModuleList(nn.Embedding(n, N_FACTORS) for n in sides)
        self.days = nn.Embedding(1 + n_days, N_HIDDEN, padding_idx=0)
        self.known = known
        widths = [x.shape[1] for x in known] if known else []
        self.features = nn.ModuleList(nn.Linear(n, N_HIDDEN, bias=False) for n in widths)
        self.layers = nn.ModuleList([nn.Linear(2 * N_FACTORS, N_HIDDEN), nn.Linear(N_HIDDEN, 1)])
        for weight in self.factors.parameters():
            nn.init.normal_(weight, 0.0, 0.1)
        for weight in self.features.parameters():
            nn.init.normal_(weight, 0.0, 0.05)
        nn.init.zeros_(self.days.weight)
        self.drop = nn.Dropout(DROPOUT)
        self.low, self.high = facts.rating_range[0] - MARGIN, facts.rating_range[1] + MARGIN

    def forward(self, users: Tensor, items: Tensor, days: Tensor) -> Tensor:
        """The predicted stars, (B,)."""
        p, q = self.factors[0](users), self.factors[1](items)
        hidden = self.layers[0](self.drop(torch.cat([p, q], 1)))
        if self.known:
            for rows, x, layer in zip((users, items), self.known, self.features, strict=True):
                hidden = hidden + layer(self.drop(x[rows]))
            hidden = hidden + self.days(days)
        scores: Tensor = self.layers[1](torch.relu(hidden))[:, 0]
        return torch.sigmoid(scores) * (self.high - self.low) + self.low


def dense(found: list[Feature]) -> Tensor:
    """All features side by side, (n_rows, n_columns)."""
    return torch.cat([feature.expand(torch.eye(len(feature.eigenvalues))) for feature in found], 1)


def day_of(train: Ratings, rows: Ratings) -> tuple[Tensor, int]:
    """The number of each row's user-day, 0 if train does not have it; and how many train has."""
    assert train.timestamps is not None
    assert rows.timestamps is not None
    days = torch.unique(user_day_ids(train.users, train.timestamps))
    wanted = user_day_ids(rows.users, rows.timestamps)
    index = torch.searchsorted(days, wanted).clamp(max=len(days) - 1)
    return torch.where(days[index] == wanted, index + 1, 0), len(days)


def user_day_ids(users: Indices, times: Indices) -> Tensor:
    """(n,) a number for each user and day, UTC."""
    return torch.tensor(users * DAYS_PER_USER + times // 86400 % DAYS_PER_USER)


def trained(
    train: Ratings, held: Ratings, facts: Provenance, known: tuple[Tensor, Tensor] | None
) -> Stars:
    """What one network predicts for the held rows after its training."""
    days, n_days = day_of(train, train)
    inputs = *map(torch.tensor, (train.users, train.items)), days, torch.tensor(train.values)
    model = Network(known, facts, n_days)
    groups = [
        {"params": list(getattr(model, name).parameters()), "weight_decay": decay}
        for name, decay in DECAYS.items()
    ]
    optimizer = torch.optim.Adam(groups, LEARNING_RATE, (0.9, 0.99), fused=True)
    n_steps = N_EPOCHS * -(-len(train) // BATCH_SIZE)
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(N_EPOCHS):
        for batch in torch.randperm(len(train)).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            users, its, when, values = (array[batch] for array in inputs)
            optimizer.zero_grad()
            loss = (model(users, its, when) - values).square().mean()
            loss.backward()
            optimizer.step()
            rates.step()
    model.eval()
    inputs = *map(torch.tensor, (held.users, held.items)), day_of(train, held)[0]
    with torch.no_grad():
        chunks = (torch.split(array, 4096) for array in inputs)
        parts = [model(*rows) for rows in zip(*chunks, strict=True)]
    predicted: Stars = torch.cat(parts).numpy()
    return predicted


def features_of(train: Ratings, gibbs: Gibbs) -> tuple[Tensor, Tensor]:
    """What bayesmf knows of users and of items, (n, columns) each."""
    users = io.read_parquet(paths.ENCODED_USERS, ["user_id"])
    items = io.read_parquet(paths.ENCODED_ITEMS, ["genres", "year"])
    tags = io.read_parquet(paths.ENCODED_TAGS, ["item", "tag", "timestamp"])
    gibbs = side_information.drop_unavailable(gibbs, train, items, users, tags)
    of_users, of_items = side_information.features(gibbs, train, users, items, tags)
    return dense(of_users), dense(of_items)


@exit_on_input_error
def main() -> None:
    """Print the table."""
    n_members = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    gibbs = config.load(paths.PARAMS, "train_bayesmf", Sampling).gibbs
    facts = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    train, valid = (
        Ratings.read(paths.TRAIN),
        Ratings.read(paths.VALID),
    )
    slices = splitting.random_split(len(train), SLICE, seed=1)
    parts = {
        "slice of train": (train.take(slices["train"]), train.take(slices["valid"])),
        "validation": (train, valid),
    }
    table = Table(title="a two-layer network")
    for heading in ("rows", "knows", "RMSE, one", f"mean of {n_members}", "seconds of all"):
        table.add_column(heading, justify="left" if heading in ("rows", "knows") else "right")
    for rows, (fitted, held) in parts.items():
        for knows in ("ids", "what bayesmf knows"):
            devices.prepare(torch.device("cpu"), 1, seed=1)
            started = time.process_time()
            known = None if knows == "ids" else features_of(fitted, gibbs)
            predicted = [trained(fitted, held, facts, known) for _ in range(n_members)]
            seconds = time.process_time() - started
            one = np.mean([metrics.rmse(each, held.values) for each in predicted])
            mean = metrics.rmse(np.mean(predicted, axis=0), held.values)
            table.add_row(rows, knows, f"{one:.4f}", f"{mean:.4f}", f"{seconds:.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
