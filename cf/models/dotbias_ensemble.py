"""Several dot products with biases, trained side by side and averaged."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from cf.core.config import BaseConfig, Count, NonNegative, Range
from cf.core.ratings import RatingStats
from cf.models.base import Model, embedding, on_model_scale, sigmoid_range

FURTHEST = 0.01  # from an end of the range, as a fraction of it, that the mean may be taken to lie


class DotBiasEnsemble(Model):
    """r(u, i) = mean over members of low + (high - low) · sigmoid(p_u · q_i + b_u + c_i + o_u)

    The members differ in where they start, and learn from the same batches, each from its own
    error: every member ends as it would if trained alone. Their errors partly cancel. A row of
    a table has all members' factors, so that a step costs little more than one member's.

    The offset o_u = logit(m) · k / (k + n_u) is not learned: m is where in the range the mean
    training rating lies, n_u the user's number of training ratings and k `offset_damping`. Weight
    decay pulls b_u towards 0, so a user with few ratings is predicted near the mean rating, not
    near the middle of the range. Users without any get the others' mean factors and mean b + o.

    Source:
        `DotBias`; Lakshminarayanan, Pritzel and Blundell 2017, "Simple and Scalable Predictive
        Uncertainty Estimation using Deep Ensembles", section 2.4, without its variances.
    """

    user_offset: Tensor
    user_known: Tensor

    class Config(BaseConfig):
        """Members, factors a user or item of each, and the range they and the biases start in.

        `offset_damping` is in ratings; 0: no offset. `user_bias_decay` multiplies the optimizer's
        weight decay for the users' biases.
        """

        n_members: Count
        n_factors: Count
        init_range: Range
        offset_damping: NonNegative = 0.0
        user_bias_decay: NonNegative = 1.0

    repeatable = True

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        self.shape = config.n_members, config.n_factors
        self.row_parts = config.n_members
        width = config.n_members * config.n_factors
        self.user_factors = embedding(n_users, width, config.init_range, config.n_members)
        self.item_factors = embedding(n_items, width, config.init_range, config.n_members)
        self.user_bias = embedding(n_users, config.n_members, config.init_range, config.n_members)
        self.item_bias = embedding(n_items, config.n_members, config.init_range, config.n_members)
        self.low, self.high = rating_range
        self.damping = config.offset_damping
        self.decay_scales = {"user_bias.weight": config.user_bias_decay}
        # Models saved before there were offsets have neither in their files.
        saved = self.damping > 0
        self.register_buffer("user_offset", torch.zeros(n_users, 1), persistent=saved)
        self.register_buffer("user_known", torch.ones(n_users, dtype=torch.bool), persistent=saved)

    def before_training(self, train: RatingStats) -> None:
        """As `Model.before_training`: set the offsets."""
        if self.damping:
            mean = train.mean_of(partial(on_model_scale, self))
            m = np.clip((mean - self.low) / (self.high - self.low), FURTHEST, 1 - FURTHEST)
            counts = train.user_counts(len(self.user_offset))
            weight = torch.tensor(self.damping / (self.damping + counts))
            self.user_offset.copy_(np.log(m / (1 - m)) * weight[:, None])
            self.user_known.copy_(torch.tensor(counts > 0))

    @torch.no_grad()
    def after_epoch(self, train: RatingStats) -> None:
        """As `Model.after_epoch`: give users without ratings the mean row of the others."""
        known = self.user_known
        if self.damping and not known.all():
            factors, bias = self.user_factors.weight, self.user_bias.weight
            level = (bias + self.user_offset)[known].mean(0)
            factors[~known] = factors[known].mean(0)
            bias[~known] = level - self.user_offset[~known]

    def members(self, users: Tensor, items: Tensor) -> Tensor:
        """Each member's prediction in stars, (B, n_members), in (low, high)."""
        products = self.user_factors(users) * self.item_factors(items)
        dots = products.unflatten(1, self.shape).sum(2)
        logits = dots + self.user_bias(users) + self.item_bias(items) + self.user_offset[users]
        return sigmoid_range(logits, self.low, self.high)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), in (low, high)."""
        return self.members(users, items).mean(1)

    def loss(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        """Each member's own mean squared error in stars², (n_members,)."""
        return (self.members(users, items) - ratings[:, None]).square().mean(0)
