"""The plain dot product."""

from torch import Tensor

from cf.core.config import BaseConfig, Count, Range
from cf.models.base import Model, embedding


class Dot(Model):
    """r(u, i) = p_u · q_i

    Predictions are not bounded to the rating range, and a cold item scores whatever its factors
    were initialized to: near 0 stars, which costs this model most of its accuracy.

    Source:
        The notebook's `EmbeddingDot`; Koren, Bell and Volinsky 2009, "Matrix Factorization
        Techniques for Recommender Systems", equation 1.
    """

    class Config(BaseConfig):
        """Factors a user or item, and the range they start in."""

        n_factors: Count
        init_range: Range

    repeatable = True

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        self.user_factors = embedding(n_users, config.n_factors, config.init_range)
        self.item_factors = embedding(n_items, config.n_factors, config.init_range)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,)."""
        products: Tensor = self.user_factors(users) * self.item_factors(items)
        return products.sum(1)
