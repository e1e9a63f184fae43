"""The rows of users and of items, drawn on Ray: each worker keeps the ratings of its rows.

A draw gives all workers the other side's rows, and each of them returns its own. The noise of
draws is made by the driver, so that samples do not depend on the workers: they are those of a chain
on one machine, to the bit where all machines are of one kind and have numba.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from cf.bayes.gibbs import Divide, ratings_by_row
from cf.bayes.row_blocks import RatingsByRow, Targets, bounds_of_equal_work
from cf.core import config
from cf.distributed.cluster import cluster, n_workers_of, result


@contextmanager
def rows_on_ray(settings: config.Ray) -> Iterator[Divide]:
    """What divides ratings among the workers of a cluster, in place of `by_users_and_items`.

    Raises:
        InputError: Ray cannot be had; or later, in a draw, workers failed too often.
    """
    with cluster(settings):
        n_workers = n_workers_of(settings)
        options = {
            "num_cpus": 0,  # a worker of a machine that is lost starts again on any other
            "scheduling_strategy": "SPREAD",
            "max_restarts": settings.max_failures,
            "max_task_retries": settings.max_failures,
        }
        actor_class = ray.remote(**options)(RowActor)

        def divide(
            users: Tensor, items: Tensor, n_users: int, n_items: int
        ) -> tuple[RatingsByRow, RatingsByRow]:
            sides = (users, items, n_users, n_items), (items, users, n_items, n_users)
            by_side = [shares_of(side[0], side[2], n_workers) for side in sides]
            actors, kept = [], []
            for of_users, of_items in zip(*by_side, strict=True):
                given = [
                    (
                        ray.put((rows[share.ratings] - share.first, others[share.ratings])),
                        share.n,
                        n,
                    )
                    for share, (rows, others, _, n) in zip((of_users, of_items), sides, strict=True)
                ]
                actors.append(actor_class.remote(*(each for side in given for each in side)))
                kept.append(given)
            of_users, of_items = (
                RayRows(actors, side, shares, kept) for side, shares in enumerate(by_side)
            )
            return of_users, of_items

        yield divide


@dataclass(frozen=True)
class Share:
    """The rows of a worker, one after the other, and its ratings."""

    first: int
    n: int
    ratings: Tensor  # (m,) indices

    @property
    def rows(self) -> slice:
        """Where the rows are among all."""
        return slice(self.first, self.first + self.n)


def shares_of(rows: Tensor, n_rows: int, n_workers: int) -> list[Share]:
    """Shares of about equal work; `rows`, (n,), are of the ratings."""
    counts = torch.bincount(rows, minlength=n_rows).numpy()
    starts = np.concatenate([[0], counts.cumsum()])
    order = rows.argsort(stable=True).int()
    return [
        Share(first, end - first, order[starts[first] : starts[end]])
        for first, end in pairwise(bounds_of_equal_work(starts, n_workers))
    ]


class RowActor:
    """A worker: its ratings by user and by item, of which it draws rows."""

    def __init__(
        self,
        of_users: tuple[Tensor, Tensor],
        n_users: int,
        n_all_items: int,
        of_items: tuple[Tensor, Tensor],
        n_items: int,
        n_all_users: int,
    ) -> None:
        """Its ratings of its users, and of its items: rows, from 0, and others."""
        torch.set_num_threads(1)
        self.sides = [
            ratings_by_row(rows, others, n_rows, n_others)
            for (rows, others), n_rows, n_others in (
                (of_users, n_users, n_all_items),
                (of_items, n_items, n_all_users),
            )
        ]

    def draw(self, side: int, values: Tensor, shared: Any, *own: Tensor) -> Tensor:
        """A draw of its rows; `shared` is what all workers are given, `own` is of its rows."""
        designs, offsets, factors, scale = shared
        return self.sides[side].draw(designs, Targets(values, offsets, factors, scale), *own)


class RayRows:
    """`RatingsByRow` of which each actor has a share."""

    def __init__(
        self, actors: Sequence[Any], side: int, shares: Sequence[Share], kept: Sequence[Any]
    ) -> None:
        """`kept` has what actors were made of, which Ray needs to start one again."""
        self.actors, self.side, self.shares, self.kept = actors, side, shares, kept
        self._sent: list[tuple[Tensor, list[Any]]] = []

    def draw(
        self, designs: Tensor, targets: Targets, weights: Tensor, centers: Tensor, noise: Tensor
    ) -> Tensor:
        """As `RatingsByRow.draw`."""
        sent = self._send(targets.values)
        shared = ray.put((designs, targets.offsets, targets.factors, targets.scale))
        drawn = [
            actor.draw.remote(
                self.side, values, shared, *(each[share.rows] for each in (weights, centers, noise))
            )
            for actor, share, values in zip(self.actors, self.shares, sent, strict=True)
        ]
        return torch.cat(result(drawn))

    def _send(self, values: Tensor) -> list[Any]:
        """References to each worker's values.

        Those of a chain without effects of time never change; one with them, which takes turns with
        it, has new ones in each sweep. So the last two are kept.
        """
        known = next((sent for tensor, sent in self._sent if tensor is values), None)
        sent = known or [ray.put(values[share.ratings]) for share in self.shares]
        others = [each for each in self._sent if each[0] is not values]
        self._sent = [*others[-1:], (values, sent)]
        return sent
