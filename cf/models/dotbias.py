"""The dot product with biases."""

from torch import Tensor

from cf.core.config import BaseConfig, Count, Range
from cf.models.base import Model, embedding, sigmoid_range


class DotBias(Model):
    """r(u, i) = low + (high - low) · sigmoid(p_u · q_i + b_u + c_i)

    The sigmoid keeps predictions inside the rating range, so the extreme ratings themselves are
    only approached. A cold item is predicted from its user's bias alone.

    Source:
        The notebook's `EmbeddingDotBias`, its own and fastai 0.7's (they differ in `init_range`);
        Koren, Bell and Volinsky 2009, equation 4, without the sigmoid.
    """

    class Config(BaseConfig):
        """Factors a user or item, and the range they and the biases start in."""

        n_factors: Count
        init_range: Range

    repeatable = True

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        self.user_factors = embedding(n_users, config.n_factors, config.init_range)
        self.item_factors = embedding(n_items, config.n_factors, config.init_range)
        self.user_bias = embedding(n_users, 1, config.init_range)
        self.item_bias = embedding(n_items, 1, config.init_range)
        self.low, self.high = rating_range

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), in (low, high)."""
        dot = (self.user_factors(users) * self.item_factors(items)).sum(1)
        biases = self.user_bias(users).squeeze(1), self.item_bias(items).squeeze(1)
        return sigmoid_range(dot + biases[0] + biases[1], self.low, self.high)
