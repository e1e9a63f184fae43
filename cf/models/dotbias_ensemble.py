"""Several dot products with biases, trained side by side and averaged."""

import torch
from torch import Tensor

from cf.core.config import Config, Count, Range
from cf.models.base import Embedding, Model, sigmoid_range


class DotBiasEnsemble(Model):
    """r(u, i) = mean over members of low + (high - low) · sigmoid(p_u · q_i + b_u + b_i)

    The members differ in where they start, and learn from the same batches, each from its own
    error: every one becomes what it would have become alone. Their errors partly cancel. A row of
    a table has all members' factors, so that a step costs little more than one member's.

    Source:
        `DotBias`; Lakshminarayanan, Pritzel and Blundell 2017, "Simple and Scalable Predictive
        Uncertainty Estimation using Deep Ensembles", section 2.4, without its variances.
    """

    class Config(Config):
        """Members, factors a user or item of each, and the range they and the biases start in."""

        n_members: Count
        n_factors: Count
        init_range: Range

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        self.shape = config.n_members, config.n_factors
        width = config.n_members * config.n_factors
        self.user_factors = Embedding(n_users, width, config.init_range)
        self.item_factors = Embedding(n_items, width, config.init_range)
        self.user_bias = Embedding(n_users, config.n_members, config.init_range)
        self.item_bias = Embedding(n_items, config.n_members, config.init_range)
        self.low, self.high = rating_range

    def members(self, users: Tensor, items: Tensor) -> Tensor:
        """Each member's prediction in stars, (B, n_members), in (low, high)."""
        products = self.user_factors(users) * self.item_factors(items)
        dots = products.unflatten(1, self.shape).sum(2)
        return sigmoid_range(
            dots + self.user_bias(users) + self.item_bias(items), self.low, self.high
        )

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), in (low, high)."""
        return self.members(users, items).mean(1)

    def losses(self, users: Tensor, items: Tensor, values: Tensor) -> Tensor:
        """Each member's own mean squared error in stars², (n_members,)."""
        return (self.members(users, items) - values[:, None]).square().mean(0)

    @torch.no_grad()
    def gradients(
        self, users: Tensor, items: Tensor, values: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """As of every model, in closed form, as of DotBias."""
        p, q = self.user_factors(users), self.item_factors(items)
        dots = (p * q).unflatten(1, self.shape).sum(2)
        share = torch.sigmoid(dots + self.user_bias(users) + self.item_bias(items))
        error = share * (self.high - self.low) + (self.low - values[:, None])
        slope = error * share * (1 - share) * (2 * (self.high - self.low) / len(values))
        column = slope.repeat_interleave(self.shape[1], 1)
        return error.square().mean(), [column * q, column * p, slope, slope]
