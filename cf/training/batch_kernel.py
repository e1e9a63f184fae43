"""Loss and gradients of a batch of the dot products, compiled for the CPU."""

import math
from typing import Any

import numpy as np

from cf.core.jit import compiled


@compiled
def forward(
    users: Any,
    items: Any,
    ratings: Any,
    user_factors: Any,
    item_factors: Any,
    user_bias: Any,
    item_bias: Any,
    offset: Any,
    low: Any,
    width: Any,
    slopes: Any,
    losses: Any,
) -> float:
    """Fill `losses`, (n_members,), with the mean squared errors, and `slopes`, (B, n_members), with
    the gradients of the sums of these by the logits; the mean loss.

    Tables are (n, n_members · n_factors) and (n, n_members); without biases of no rows, and then
    the dot product is the prediction. Offsets are (n_users, 1), or of no rows.
    """
    n_members = len(losses)
    n_factors = user_factors.shape[1] // n_members
    has_bias, has_offset = len(user_bias) > 0, len(offset) > 0
    one, two = np.float32(1), np.float32(2)
    losses[:] = 0
    for n in range(len(users)):
        p, q = user_factors[users[n]], item_factors[items[n]]
        for member in range(n_members):
            dot = np.float32(0)
            for k in range(member * n_factors, (member + 1) * n_factors):
                dot += p[k] * q[k]
            if has_bias:
                logit = dot + user_bias[users[n], member] + item_bias[items[n], member]
                if has_offset:
                    logit += offset[users[n], 0]
                s = one / (one + math.exp(-logit))
                error = s * width + (low - ratings[n])
                slopes[n, member] = two * width * error * s * (one - s) / len(users)
            else:
                error = dot - ratings[n]
                slopes[n, member] = two * error / len(users)
            losses[member] += error * error / len(users)
    return float(losses.mean())


@compiled
def backward(
    users: Any,
    items: Any,
    slopes: Any,
    upstream: Any,
    tables: Any,
    gradients: Any,
) -> float:
    """Add to the four tables' gradients, in the order of `forward`'s tables."""
    user_factors, item_factors, user_bias, _ = tables
    of_user_factors, of_item_factors, of_user_bias, of_item_bias = gradients
    n_members = slopes.shape[1]
    n_factors = user_factors.shape[1] // n_members
    has_bias = len(user_bias) > 0
    for n in range(len(users)):
        user, item = users[n], items[n]
        p, q = user_factors[user], item_factors[item]
        of_p, of_q = of_user_factors[user], of_item_factors[item]
        for member in range(n_members):
            slope = slopes[n, member] * upstream[member]
            for k in range(member * n_factors, (member + 1) * n_factors):
                of_p[k] += slope * q[k]
                of_q[k] += slope * p[k]
            if has_bias:
                of_user_bias[user, member] += slope
                of_item_bias[item, member] += slope
    return 0.0
