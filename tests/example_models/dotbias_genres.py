"""The dot product with biases, and each user's taste in genres."""

from torch import Tensor

from cf.core.config import BaseConfig, Count, Range
from cf.models.base import Model, embedding, sigmoid_range


class DotBiasGenres(Model):
    """r(u, i) = low + (high - low) · sigmoid(p_u · q_i + b_u + b_i + t_u · x_i)

    x_i are genres and year of the item, t_u is what the user likes of them. So users differ on
    items that nobody has rated yet.
    """

    class Config(BaseConfig):
        """Factors a user or item, and the range they and the biases start in."""

        n_factors: Count
        init_range: Range

    item_features = ("genres", "year")

    def __init__(
        self,
        config: Config,
        n_users: int,
        n_items: int,
        rating_range: Range,
        item_columns: Tensor,
    ) -> None:
        super().__init__(config, n_users, n_items, rating_range, item_columns)
        self.user_factors = embedding(n_users, config.n_factors, config.init_range)
        self.item_factors = embedding(n_items, config.n_factors, config.init_range)
        self.user_bias = embedding(n_users, 1, config.init_range)
        self.item_bias = embedding(n_items, 1, config.init_range)
        self.user_taste = embedding(n_users, item_columns.shape[1], config.init_range)
        self.low, self.high = rating_range

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), in (low, high)."""
        dot = (self.user_factors(users) * self.item_factors(items)).sum(1)
        taste = (self.user_taste(users) * self.item_columns[items]).sum(1)
        biases = self.user_bias(users).squeeze(1) + self.item_bias(items).squeeze(1)
        return sigmoid_range(dot + taste + biases, self.low, self.high)
