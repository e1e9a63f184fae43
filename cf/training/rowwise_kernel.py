"""Steps of RowwiseAdagrad, one a rating, compiled for the dot products on the CPU.

The only file that imports numba, which is optional: import it where it is used.
"""

import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray

from cf.core.ratings import Indices
from cf.models.base import Model
from cf.training.optim import RowwiseAdagrad
from cf.training.rating_blocks import RatingBlocks

Arrays = tuple[NDArray[Any], ...]


class CompiledEpochs:
    """Epochs of a model whose `loss` is `Dot`'s, `DotBias`'s or `DotBiasEnsemble`'s.

    The tables and the optimizer's state change in place.

    Args:
        users, items, values: (n,) of each rating, on the model's scale.
    """

    def __init__(
        self,
        model: Model,
        optimizer: RowwiseAdagrad,
        blocks: RatingBlocks,
        users: Indices,
        items: Indices,
        values: NDArray[np.float32],
    ) -> None:
        self.blocks = blocks
        order = blocks.ratings
        self.ratings = users[order].astype(np.uint32), items[order].astype(np.uint32), values[order]
        names = [name for name, _ in model.named_parameters()]
        index = {name.removesuffix(".weight"): i for i, name in enumerate(names)}
        nothing = np.zeros(0, np.float32)  # stands for the biases of a model without

        def tables(kind: str) -> tuple[Arrays, tuple[np.float32, ...]]:
            if f"user_{kind}" not in index:
                return (nothing,) * 4, (np.float32(0),) * 2
            user, item = index[f"user_{kind}"], index[f"item_{kind}"]
            params, squares = optimizer.params, optimizer.state[0]
            both = params[user].detach(), params[item].detach(), squares[user], squares[item]
            decays = np.float32(optimizer.decays[user]), np.float32(optimizer.decays[item])
            return tuple(tensor.numpy().reshape(-1) for tensor in both), decays

        factors, biases = tables("factors"), tables("bias")
        self.tables = (*factors, *biases)
        offset = vars(model)["_buffers"].get("user_offset", torch.zeros(0))
        self.offset = offset.numpy().reshape(-1)
        low, high = getattr(model, "low", 0.0), getattr(model, "high", 1.0)
        self.scalars = np.float32(low), np.float32(high - low), np.float32(optimizer.eps)
        self.n_members = model.row_parts

    def run(
        self, drawn: Indices, rates: NDArray[np.float64], on_block: Callable[[int], None]
    ) -> float:
        """One epoch, on as many threads as torch has; the mean squared error of the ratings as met.

        The result does not depend on the number of threads.

        Args:
            drawn: (G, G) as `RatingBlocks.draw` gives them.
            rates: (G²,) the learning rate of each block, in that order.
            on_block: called with the number of a block's ratings when it is done.
        """
        n_groups = self.blocks.n_groups
        done: dict[tuple[int, int], Future[float]] = {}
        starts = self.blocks.starts

        def process(round_: int, place: int) -> float:
            # What has been submitted before has begun before, so that no two wait for each other.
            for before in (place, (place + 1) % n_groups) if round_ else ():
                done[round_ - 1, before].result()
            block = drawn[round_, place]
            rows = slice(starts[block], starts[block + 1])
            ratings = (array[rows] for array in self.ratings)
            rate = np.float32(rates[round_ * n_groups + place])
            tables = (*self.tables, self.offset, self.n_members)
            return float(_steps(*ratings, *tables, rate, *self.scalars))

        pool = ThreadPoolExecutor(torch.get_num_threads())
        try:
            for key in np.ndindex(n_groups, n_groups):
                done[key] = pool.submit(process, *key)
            total = 0.0
            for key, future in done.items():
                total += future.result()
                block = drawn[key]
                on_block(int(starts[block + 1] - starts[block]))
        finally:
            pool.shutdown(cancel_futures=True)
        return total / self.n_members / len(self.blocks.ratings)


def _compiled(function: Callable[..., float]) -> Callable[..., float]:
    """The function compiled by numba, kept on disk where there is a place to write to."""
    options = {
        "nogil": True,
        "error_model": "numpy",
        # Sums in any order, as the registers fit, but always in the same one.
        "fastmath": {"contract", "reassoc", "nsz", "arcp"},
    }
    try:
        compiled: Callable[..., float] = njit(cache=True, **options)(function)
    except RuntimeError:  # neither here, nor in NUMBA_CACHE_DIR, nor in the home
        compiled = njit(**options)(function)
    return compiled


@_compiled
def _steps(
    users: Any,
    items: Any,
    values: Any,
    factors: Any,
    factor_decays: Any,
    biases: Any,
    bias_decays: Any,
    offset: Any,
    n_members: Any,
    rate: Any,
    low: Any,
    width: Any,
    eps: Any,
) -> float:
    """A step a rating, in order; the sum of all members' squared errors, each before its step.

    A member's factors p and q are n_factors numbers of a row, from `p` and `q` on. With the
    gradient g of the squared error by the dot product, the gradient of p is g q + decay p, and
    the sum of its squares is g² q·q + 2 g decay p·q + decay² p·p: so p and q are read twice.
    """
    user_factors, item_factors, user_squares, item_squares = factors
    user_bias, item_bias, user_bias_squares, item_bias_squares = biases
    decay_p, decay_q = factor_decays
    decay_b, decay_c = bias_decays
    has_bias, has_offset = len(user_bias) > 0, len(offset) > 0
    zero, one, two = np.float32(0), np.float32(1), np.float32(2)
    # Unsigned, and indices of flat arrays: otherwise numba does not vectorize, which takes 4 times
    # as long.
    n_members = np.uint64(n_members)
    n_factors = np.uint64(len(user_factors) // len(user_squares))
    total = 0.0
    for n in range(len(users)):
        user, item = np.uint64(users[n]), np.uint64(items[n])
        for member in range(n_members):
            u, i = user * n_members + member, item * n_members + member
            p, q = u * n_factors, i * n_factors
            pq, pp, qq = zero, zero, zero
            for k in range(n_factors):
                x, y = user_factors[p + k], item_factors[q + k]
                pq += x * y
                pp += x * x
                qq += y * y
            if has_bias:
                logit = pq + user_bias[u] + item_bias[i]
                if has_offset:
                    logit += offset[user]
                s = one / (one + math.exp(-logit))
                error = s * width + (low - values[n])
                g = two * width * error * s * (one - s)
                b, c = user_bias[u], item_bias[i]
                grad_b, grad_c = g + decay_b * b, g + decay_c * c
                b_squares = user_bias_squares[u] + grad_b * grad_b
                c_squares = item_bias_squares[i] + grad_c * grad_c
                user_bias_squares[u], item_bias_squares[i] = b_squares, c_squares
                user_bias[u] = b - rate * grad_b / (math.sqrt(b_squares) + eps)
                item_bias[i] = c - rate * grad_c / (math.sqrt(c_squares) + eps)
            else:
                error = pq - values[n]
                g = two * error
            total += error * error
            cross = two * g * pq
            p_sum = g * g * qq + decay_p * cross + decay_p * decay_p * pp
            q_sum = g * g * pp + decay_q * cross + decay_q * decay_q * qq
            p_squares = user_squares[u] + max(zero, p_sum) / np.float32(n_factors)
            q_squares = item_squares[i] + max(zero, q_sum) / np.float32(n_factors)
            user_squares[u], item_squares[i] = p_squares, q_squares
            rate_p = rate / (math.sqrt(p_squares) + eps)
            rate_q = rate / (math.sqrt(q_squares) + eps)
            keep_p, keep_q = one - rate_p * decay_p, one - rate_q * decay_q
            rate_p, rate_q = rate_p * g, rate_q * g
            for k in range(n_factors):
                x, y = user_factors[p + k], item_factors[q + k]
                user_factors[p + k] = keep_p * x - rate_p * y
                item_factors[q + k] = keep_q * y - rate_q * x
    return total
