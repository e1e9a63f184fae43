from itertools import pairwise

import numpy as np
import pytest
import torch

from cf.core.ratings import Ratings
from cf.training.rating_blocks import FEWEST_GROUPS, MOST_GROUPS, RatingBlocks

N_USERS, N_ITEMS = 300, 400


@pytest.fixture(scope="module")
def ratings() -> Ratings:
    draw = np.random.default_rng(0)
    users, items = draw.integers(0, N_USERS, 5000), draw.integers(0, N_ITEMS, 5000)
    return Ratings(users, items, np.ones(5000, np.float32), None, np.arange(5000))


def blocks_of(ratings: Ratings, seed: int = 0, row_bytes: int = 200) -> RatingBlocks:
    torch.manual_seed(seed)
    return RatingBlocks(ratings, N_USERS, N_ITEMS, row_bytes)


def members(blocks: RatingBlocks, ratings: Ratings, block: int) -> tuple[set[int], set[int]]:
    rows = blocks.ratings[blocks.starts[block] : blocks.starts[block + 1]]
    return set(ratings.users[rows].tolist()), set(ratings.items[rows].tolist())


def test_an_epoch_has_each_rating_once_in_blocks_of_like_size(ratings: Ratings) -> None:
    blocks = blocks_of(ratings)
    drawn = blocks.draw()
    order, sizes = blocks.in_order(drawn)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(ratings)))
    assert drawn.shape == (blocks.n_groups, blocks.n_groups)
    assert sizes.sum() == len(ratings)
    assert sizes.max() < 2 * sizes.mean()
    for start, end in pairwise(blocks.starts):  # a user's row is loaded once a block
        assert (np.diff(ratings.users[blocks.ratings[start:end]]) >= 0).all()


def test_the_blocks_of_a_round_have_no_row_in_common(ratings: Ratings) -> None:
    blocks = blocks_of(ratings)
    for of_round in blocks.draw():
        # A round meets some of everybody's ratings: with few of them, most users and items.
        users, items = zip(*(members(blocks, ratings, block) for block in of_round), strict=True)
        assert sum(map(len, users)) == len(set().union(*users)) > 0.8 * N_USERS
        assert sum(map(len, items)) == len(set().union(*items)) > 0.6 * N_ITEMS


def test_a_block_shares_rows_with_two_of_the_round_before_and_no_others(ratings: Ratings) -> None:
    blocks = blocks_of(ratings)
    drawn = blocks.draw()
    n = blocks.n_groups
    for before, after in pairwise(drawn):
        for place in range(n):
            users, items = members(blocks, ratings, after[place])
            for other in range(n):
                other_users, other_items = members(blocks, ratings, before[other])
                assert bool(users & other_users) == (other == place)
                assert bool(items & other_items) == (other == (place + 1) % n)


def test_the_order_is_drawn_anew_each_epoch_from_the_seed(ratings: Ratings) -> None:
    blocks = blocks_of(ratings)
    first, second = blocks.draw(), blocks.draw()
    assert not np.array_equal(first, second)
    again = blocks_of(ratings)
    np.testing.assert_array_equal(again.draw(), first)
    np.testing.assert_array_equal(again.ratings, blocks.ratings)
    assert not np.array_equal(blocks_of(ratings, seed=1).ratings, blocks.ratings)


def test_larger_tables_have_more_groups(ratings: Ratings) -> None:
    sizes = [blocks_of(ratings, row_bytes=2**power).n_groups for power in (4, 16, 30)]
    assert sizes == [FEWEST_GROUPS, 16, MOST_GROUPS]


@pytest.mark.parametrize("n", [0, 1])
def test_there_may_be_few_ratings(n: int) -> None:
    one = np.zeros(n, np.int64)
    blocks = RatingBlocks(Ratings(one, one, one.astype(np.float32), None, one), 1, 1, 4)
    order, sizes = blocks.in_order(blocks.draw())
    assert order.tolist() == [0] * n
    assert sizes.sum() == n
