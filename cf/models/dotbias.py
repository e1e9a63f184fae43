"""The dot product with biases."""

import torch
from torch import Tensor

from cf.core.config import Config, Count, Range
from cf.models.base import Embedding, Model, sigmoid_range


class DotBias(Model):
    """r(u, i) = low + (high - low) · sigmoid(p_u · q_i + b_u + b_i)

    The sigmoid keeps predictions inside the rating range, so the extreme ratings themselves are
    only approached. A cold item is predicted from its user's bias alone.

    Source:
        The notebook's `EmbeddingDotBias`, its own and fastai 0.7's (they differ in `init_range`);
        Koren, Bell and Volinsky 2009, equation 4, without the sigmoid.
    """

    class Config(Config):
        """Factors a user or item, and the range they and the biases start in."""

        n_factors: Count
        init_range: Range

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        self.user_factors = Embedding(n_users, config.n_factors, config.init_range)
        self.item_factors = Embedding(n_items, config.n_factors, config.init_range)
        self.user_bias = Embedding(n_users, None, config.init_range)
        self.item_bias = Embedding(n_items, None, config.init_range)
        self.low, self.high = rating_range

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), in (low, high)."""
        dot = (self.user_factors(users) * self.item_factors(items)).sum(1)
        return sigmoid_range(
            dot + self.user_bias(users) + self.item_bias(items), self.low, self.high
        )

    @torch.no_grad()
    def gradients(
        self, users: Tensor, items: Tensor, values: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """As of every model, in closed form: the gradient of a dot product is the other factor."""
        p, q = self.user_factors(users), self.item_factors(items)
        share = torch.sigmoid((p * q).sum(1) + self.user_bias(users) + self.item_bias(items))
        error = share * (self.high - self.low) + (self.low - values)
        slope = error * share * (1 - share) * (2 * (self.high - self.low) / len(values))
        column = slope[:, None]
        return (error @ error) / len(values), [column * q, column * p, slope, slope]
