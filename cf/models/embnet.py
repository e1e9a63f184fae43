"""A two-layer network over embeddings."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from cf.core.config import BaseConfig, Count, Fraction, Range
from cf.models.base import Model, embedding, sigmoid_range


class EmbNet(Model):
    """r(u, i) = low - m + (high - low + 2m) · sigmoid(w · relu(W [p_u, q_i] + a) + b)

    Dropout is applied to [p_u, q_i] and to the hidden units in training. The margin m lets the
    extreme ratings themselves be predicted.

    Source:
        The notebook's `EmbeddingNet`; a small sibling of He et al. 2017, "Neural Collaborative
        Filtering".
    """

    class Config(BaseConfig):
        """Widths, dropout of embeddings and hidden units, and the margin m in stars."""

        n_factors: Count
        init_range: Range
        n_hidden: Count
        dropout: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
        range_margin: Annotated[float, Field(ge=0, le=1000)]

    repeatable = True

    def __init__(self, config: Config, n_users: int, n_items: int, rating_range: Range) -> None:
        super().__init__(config, n_users, n_items, rating_range)
        self.user_factors = embedding(n_users, config.n_factors, config.init_range)
        self.item_factors = embedding(n_items, config.n_factors, config.init_range)
        self.hidden = nn.Linear(2 * config.n_factors, config.n_hidden)
        self.output = nn.Linear(config.n_hidden, 1)
        self.dropout = nn.ModuleList(nn.Dropout(share) for share in config.dropout)
        self.low = rating_range[0] - config.range_margin
        self.high = rating_range[1] + config.range_margin

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """The predicted stars, (B,), in (low, high), each widened by the margin."""
        pairs = torch.cat([self.user_factors(users), self.item_factors(items)], dim=1)
        hidden = torch.relu(self.hidden(self.dropout[0](pairs)))
        return sigmoid_range(self.output(self.dropout[1](hidden))[:, 0], self.low, self.high)
