"""Several dot products with biases, trained side by side and averaged."""

from torch import Tensor

from cf.core.config import BaseConfig, Count, Range
from cf.models.base import Model, embedding, sigmoid_range


class DotBiasEnsemble(Model):
    """r(u, i) = mean over members of low + (high - low) · sigmoid(p_u · q_i + b_u + c_i)

    The members differ in where they start, and learn from the same batches, each from its own
    error: every member ends as it would if trained alone. Their errors partly cancel. A row of
    a table has all members' factors, so that a step costs little more than one member's.

    Source:
        `DotBias`; Lakshminarayanan, Pritzel and Blundell 2017, "Simple and Scalable Predictive
        Uncertainty Estimation using Deep Ensembles", section 2.4, without its variances.
    """

    class Config(BaseConfig):
        """Members, factors a user or item of each, and the range they and the biases start in."""

        n_members: Count
        n_factors: Count
        init_range: Range

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        self.shape = config.n_members, config.n_factors
        width = config.n_members * config.n_factors
        self.user_factors = embedding(n_users, width, config.init_range)
        self.item_factors = embedding(n_items, width, config.init_range)
        self.user_bias = embedding(n_users, config.n_members, config.init_range)
        self.item_bias = embedding(n_items, config.n_members, config.init_range)
        self.low, self.high = rating_range

    def members(self, users: Tensor, items: Tensor) -> Tensor:
        """Each member's prediction in stars, (B, n_members), in (low, high)."""
        products = self.user_factors(users) * self.item_factors(items)
        dots = products.unflatten(1, self.shape).sum(2)
        logits = dots + self.user_bias(users) + self.item_bias(items)
        return sigmoid_range(logits, self.low, self.high)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), in (low, high)."""
        return self.members(users, items).mean(1)

    def loss(self, users: Tensor, items: Tensor, ratings: Tensor) -> Tensor:
        """Each member's own mean squared error in stars², (n_members,)."""
        return (self.members(users, items) - ratings[:, None]).square().mean(0)
