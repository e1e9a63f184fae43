"""Steps of RowwiseAdagrad, one a rating, compiled for the dot products on the CPU."""

import math
from typing import Any

import numpy as np

from cf.core.jit import compiled


@compiled
def steps(
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
