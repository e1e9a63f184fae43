from itertools import pairwise

import numpy as np
import pytest
import torch

from cf.core.ratings import Ratings
from cf.training.checkpoint import ModelSpec
from cf.training.optim import Adam, RowwiseAdagrad
from cf.training.rating_blocks import FEWEST_GROUPS, MOST_GROUPS, RatingBlocks, steps_in_blocks

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
        rows = blocks.ratings[start:end]
        assert (np.diff(ratings.users[rows] * len(ratings) + rows) > 0).all()


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


def test_groups_by_hand() -> None:
    """64 ratings in 8 groups, of users with 8, 7, 7, ... and of items with one each, as drawn.

    A row is in the group that its first rating is in, where all are laid end to end.
    """
    users = np.repeat(np.arange(9), [8, *[7] * 8])
    ratings = Ratings(users, np.arange(64), np.ones(64, np.float32), None, np.arange(64))
    torch.manual_seed(3)
    order = torch.randperm(64).tolist()
    state = torch.get_rng_state()
    torch.manual_seed(3)
    blocks = RatingBlocks(ratings, 9, 64, 4)
    assert torch.equal(torch.get_rng_state(), state)
    for block in range(64):
        for row in blocks.ratings[blocks.starts[block] : blocks.starts[block + 1]]:
            assert block // 8 == [0, 1, 1, 2, 3, 4, 5, 6, 7][users[row]]
            assert block % 8 == order.index(row) // 8
    assert (blocks.starts[0], blocks.starts[-1], len(blocks.starts)) == (0, 64, 65)
    of_users, of_items = torch.randperm(8), torch.randperm(8)
    torch.set_rng_state(state)
    drawn = blocks.draw()
    for round_ in range(8):
        for place in range(8):
            expected = of_users[place] * 8 + of_items[(place + round_) % 8]
            assert drawn[round_, place] == expected
    rows, sizes = blocks.in_order(drawn[:2])
    parts = [blocks.ratings[blocks.starts[b] : blocks.starts[b + 1]] for b in drawn[:2].ravel()]
    np.testing.assert_array_equal(rows, np.concatenate(parts))
    assert sizes.tolist() == [len(part) for part in parts]


def test_the_blocks_of_a_model_are_as_its_tables_are(planted: tuple[Ratings, Ratings]) -> None:
    """80 rows of 2¹⁹ bytes are 20 times what a core keeps, which is 32 groups."""
    settings = {"name": "dot", "n_factors": 2**17, "init_range": [0.0, 0.1]}
    model = ModelSpec(settings, 60, 80, (0.5, 5.0)).build("test")
    torch.manual_seed(0)
    found = RatingBlocks.of(model, planted[0])
    torch.manual_seed(0)
    expected = RatingBlocks(planted[0], 60, 80, 2**19)
    assert found.n_groups == expected.n_groups == 32
    np.testing.assert_array_equal(found.ratings, expected.ratings)


def test_steps_are_in_blocks_for_a_known_model_and_optimizer_a_rating_at_a_time() -> None:
    settings = {"name": "dot", "n_factors": 2, "init_range": [0.0, 0.1]}
    model = ModelSpec(settings, 3, 3, (0.5, 5.0)).build("test")
    adagrad = RowwiseAdagrad(model.parameters(), 1e-8, 0.0, [])
    assert steps_in_blocks(model, adagrad, 1)
    assert not steps_in_blocks(model, adagrad, 2)
    assert not steps_in_blocks(model, Adam(model.parameters(), (0.9, 0.99), 0.0), 1)
    model.__class__ = type("Mine", (type(model),), {})
    assert not steps_in_blocks(model, adagrad, 1)


@pytest.mark.parametrize("n", [0, 1])
def test_there_may_be_few_ratings(n: int) -> None:
    one = np.zeros(n, np.int64)
    blocks = RatingBlocks(Ratings(one, one, one.astype(np.float32), None, one), 1, 1, 4)
    order, sizes = blocks.in_order(blocks.draw())
    assert order.tolist() == [0] * n
    assert sizes.sum() == n
