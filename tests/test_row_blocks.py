"""Rows of coefficients are drawn as ridge regression says."""

import pytest
import torch

from cf.bayes import row_blocks as blocks
from tests.draws import N, close_to_normal, in_turn


@pytest.mark.parametrize("relaxation", [0.0, -0.9])
@pytest.mark.parametrize("n_ratings", [0, 1, 3, 6])  # fewer than d, and more
def test_a_row_is_drawn_as_ridge_regression_says(n_ratings: int, relaxation: float) -> None:
    torch.manual_seed(0)
    d, weight = 3, 1.7
    designs, targets = torch.randn(8, d), torch.randn(n_ratings)
    root = torch.randn(d, d)
    precision, prior_mean = root @ root.T + torch.eye(d), torch.randn(d)
    x = designs[:n_ratings]
    a = precision + weight * x.T @ x
    mean = torch.linalg.solve(a, precision @ prior_mean + weight * x.T @ targets)

    rows = torch.arange(N).repeat_interleave(n_ratings)  # N rows with the same ratings
    others = torch.arange(n_ratings).repeat(N)
    divided = blocks.divide(rows, others, N, 8)
    given = (
        *(divided, designs, targets.repeat(N), torch.full((N,), weight)),
        *(prior_mean.expand(N, d), precision),
    )
    plain = blocks.draw(*given, torch.full((N, d), torch.pi), 0.0)
    drawn = torch.cat([plain, blocks.draw(*given, plain, relaxation)], dim=1)
    close_to_normal(drawn, *in_turn(mean, torch.linalg.inv(a), relaxation))


def test_blocks_hold_every_rating_once_at_its_row() -> None:
    torch.manual_seed(0)
    rows = torch.cat([torch.randint(0, 30, (400,)), torch.full((90,), 31)])
    others = torch.randint(0, 11, (490,))
    divided = blocks.divide(rows, others, 33, 11)
    assert sorted(torch.cat([block.rows for block in divided]).tolist()) == list(range(33))
    seen = []
    for block in divided:
        for row, ratings, their_others in zip(*vars(block).values(), strict=True):
            inside = ratings < 490
            assert (rows[ratings[inside]] == row).all()
            assert (their_others[inside] == others[ratings[inside]]).all()
            assert (their_others[~inside] == 11).all()
            seen += ratings[inside].tolist()
    assert sorted(seen) == list(range(490))
