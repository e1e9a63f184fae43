"""An order of steps, one a rating, that keeps rows in the cache and lets threads share no row."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from cf.core.ratings import Indices, Ratings
from cf.models.base import Model
from cf.training.fast_gradients import CLOSED_FORMS, DOT
from cf.training.optim import Optimizer, RowwiseAdagrad

IN_BLOCKS = {DOT, *CLOSED_FORMS}
"""Classes for which the steps are compiled, by name as in `CLOSED_FORMS`."""
FEWEST_GROUPS, MOST_GROUPS = 8, 256  # powers of two; a block's number fits into 16 bits
MOST_BYTES = 2**21  # of the rows of a group's items, which are to stay in the L2 cache of a core


def steps_in_blocks(
    model: Model, optimizer: Optimizer | torch.optim.Optimizer, batch_size: int
) -> bool:
    """Whether the model takes a step a rating, in the order of `RatingBlocks`."""
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    return batch_size == 1 and name in IN_BLOCKS and isinstance(optimizer, RowwiseAdagrad)


class RatingBlocks:
    """Training ratings in blocks: those of a group of users and a group of items.

    There are G groups each of users and of items, with about as many ratings each. Users with
    indices side by side are in a group, so that their rows are read one after the other: a third
    quicker than at random. Items are drawn, from torch's global generator. Within a block the
    ratings are in the order of their users. An epoch is G rounds of G blocks. The blocks of a round
    have no user and no item in common, so it does not matter in which order they are processed, or
    whether at the same time.

    Attributes:
        n_groups: G, a power of two that depends on the size of the tables only.
        ratings: (n,) positions of the training ratings, block after block.
        starts: (G² + 1,) where in `ratings` each block starts, and the last ends.

    Source:
        Chin et al. 2015, "A Fast Parallel Stochastic Gradient Method for Matrix Factorization in
        Shared Memory Systems", sections 3 and 4.1, with rounds in place of its scheduler, which
        makes results depend on timing; the rounds are the strata of Gemulla et al. 2011,
        "Large-Scale Matrix Factorization with Distributed Stochastic Gradient Descent".
    """

    def __init__(self, train: Ratings, n_users: int, n_items: int, row_bytes: int) -> None:
        needed = n_items * row_bytes / MOST_BYTES
        exponent = np.ceil(np.log2(max(needed, 1)))
        self.n_groups = int(np.clip(2**exponent, FEWEST_GROUPS, MOST_GROUPS))
        user_group = self._groups(train.users, np.arange(n_users))
        item_group = self._groups(train.items, torch.randperm(n_items).numpy())
        by_user = np.argsort(train.users, kind="stable")
        block = user_group[train.users] * self.n_groups + item_group[train.items]
        by_block = np.argsort(block[by_user], kind="stable")  # a radix sort, of 16 bits
        self.ratings: Indices = by_user[by_block]
        sizes = np.bincount(block, minlength=self.n_groups**2)
        self.starts: Indices = np.concatenate([[0], np.cumsum(sizes)])

    @classmethod
    def of(cls, model: Model, train: Ratings) -> "RatingBlocks":
        """The blocks for a model in `IN_BLOCKS`."""
        users, items = (model.get_parameter(f"{side}_factors.weight") for side in ("user", "item"))
        return cls(train, len(users), len(items), items.nbytes // len(items))

    def draw(self) -> Indices:
        """The blocks of an epoch, (G, G): a row is a round.

        Block j of a round shares its users with block j of the round before, and its items with
        block j + 1, counted modulo G.
        """
        users, items = (torch.randperm(self.n_groups).numpy() for _ in range(2))
        round_, place = np.ogrid[: self.n_groups, : self.n_groups]
        blocks = users[place] * self.n_groups + items[(place + round_) % self.n_groups]
        return cast(Indices, blocks)

    def in_order(self, blocks: Indices) -> tuple[Indices, Indices]:
        """The ratings of `blocks`, one block after the other, and the size of each block."""
        bounds = [(self.starts[block], self.starts[block + 1]) for block in blocks.ravel()]
        ratings = np.concatenate([self.ratings[start:end] for start, end in bounds])
        return ratings, np.array([end - start for start, end in bounds])

    def _groups(self, indices: Indices, order: Indices) -> NDArray[np.uint16]:
        """A group for each row, (n_rows,): rows in the given order, with as many ratings each."""
        counts = np.bincount(indices, minlength=len(order))[order]
        before = np.cumsum(counts) - counts
        group = np.empty(len(order), np.uint16)
        group[order] = np.minimum(before * self.n_groups // max(1, len(indices)), self.n_groups - 1)
        return group
