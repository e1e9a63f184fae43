"""Rows of coefficients are drawn as ridge regression says."""

import pytest
import torch

from cf.bayes import gibbs
from cf.bayes import row_blocks as blocks
from cf.bayes.compiled import CompiledRows, scores
from cf.bayes.row_blocks import Targets
from cf.bayes.side_information import Feature
from cf.models import bayesmf
from tests.devices import GPU, SimulatedGpu
from tests.draws import N, close_to_normal, in_turn


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("relaxation", [0.0, -0.9])
@pytest.mark.parametrize("n_ratings", [0, 1, 3, 6])  # fewer than d, and more
def test_a_row_is_drawn_as_ridge_regression_says(
    n_ratings: int, relaxation: float, compiled: bool
) -> None:
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
    by_row = CompiledRows(rows, others, N) if compiled else blocks.RowBlocks(rows, others, N, 8)
    given = (
        *(by_row, designs, Targets(targets.repeat(N)), torch.full((N,), weight)),
        *(prior_mean.expand(N, d), precision),
    )
    plain = blocks.draw(*given, torch.full((N, d), torch.pi), 0.0)
    drawn = torch.cat([plain, blocks.draw(*given, plain, relaxation)], dim=1)
    close_to_normal(drawn, *in_turn(mean, torch.linalg.inv(a), relaxation))


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("d", [1, 5, 21, 59, 65])  # with the last two, chunks are shorter than d
def test_compiled_loops_draw_what_blocks_of_tensors_do(d: int, n_threads: int) -> None:
    """Of rows with far fewer ratings than d, and with far more: chunks and their ends too."""
    torch.manual_seed(0)
    lengths = torch.tensor([0, 1, d // 4, 2 * d, 40 * d, 0, 1500, 513, 256, d // 4])
    lengths[-1] = min(lengths[-1], 15)  # in tensors, padding up to 16 must leave fewer than d
    rows = torch.arange(len(lengths)).repeat_interleave(lengths)
    rows = rows[torch.randperm(len(rows))]
    others = torch.randint(0, 50, rows.shape)
    root = torch.randn(d, d)
    given = (
        *(torch.randn(50, d), Targets(torch.randn(len(rows))), torch.rand(10) + 0.1),
        *(torch.randn(10, d), root @ root.T + torch.eye(d), torch.randn(10, d), -0.5),
    )
    drawn = []
    torch.set_num_threads(n_threads)
    for by_row in (blocks.RowBlocks(rows, others, 10, 50), CompiledRows(rows, others, 10)):
        torch.manual_seed(1)
        drawn.append(blocks.draw(by_row, *given))
    torch.set_num_threads(1)
    torch.testing.assert_close(*drawn, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("n_ratings", [58, 64])  # fewer than d, more than a chunk
def test_rows_with_hardly_fewer_ratings_than_factors_use_all_of_them(n_ratings: int) -> None:
    """Without noise, a draw is the mean, whichever system it is from."""
    torch.manual_seed(0)
    d = 65
    designs, targets, weight = torch.randn(n_ratings, d), torch.randn(n_ratings), 2.0
    index = torch.arange(n_ratings)
    given = designs, Targets(targets), torch.tensor([weight]), torch.zeros(1, d), torch.zeros(1, d)
    drawn = CompiledRows(torch.zeros_like(index), index, 1).draw(*given)
    a = torch.eye(d) + weight * designs.T @ designs
    expected = torch.linalg.solve(a, weight * designs.T @ targets)
    torch.testing.assert_close(drawn[0], expected, rtol=1e-3, atol=1e-3)


def test_targets_are_less_the_offset_and_times_the_factor_of_the_other_side() -> None:
    values, others = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([1, 0, 1])
    targets = Targets(values, torch.tensor([0.5, 3.0]), torch.tensor([1.0, 10.0]), 2.0)
    assert targets.of(others).tolist() == [-40.0, 3.0, 20.0]
    assert Targets(values).of(others).tolist() == values.tolist()


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n", [0, 2, 100])
def test_compiled_scores_are_those_of_the_model(n: int, n_threads: int) -> None:
    torch.manual_seed(0)
    tables = torch.randn(7, 4), torch.randn(9, 4)
    pairs = torch.randint(0, 7, (n,)), torch.randint(0, 9, (n,))
    torch.set_num_threads(n_threads)
    found = scores(*tables, *pairs)
    torch.set_num_threads(1)
    torch.testing.assert_close(found, bayesmf.scores(*tables, *pairs))


@pytest.mark.parametrize("n_ratings", [1, 3])
def test_blocks_of_tensors_give_nan_where_a_matrix_is_not_positive_definite(n_ratings: int) -> None:
    """As torch.linalg.cholesky raises an error, for which a GPU has to be waited for."""
    rows = torch.arange(2).repeat_interleave(n_ratings)
    given = torch.ones(1, 2), Targets(torch.ones(2 * n_ratings)), torch.tensor([-5.0, 5.0])
    blocks_ = blocks.RowBlocks(rows, torch.zeros_like(rows), 2, 1)
    drawn = blocks_.draw(*given, torch.ones(2, 2), torch.ones(2, 2))
    assert drawn[0].isnan().all()
    assert drawn[1].isfinite().all()


@pytest.mark.parametrize("n_ratings", [1, 3])
def test_compiled_loops_give_nan_where_a_matrix_is_not_positive_definite(n_ratings: int) -> None:
    rows = torch.zeros(n_ratings, dtype=torch.int64)
    given = (
        torch.ones(1, 2),
        Targets(torch.ones(n_ratings)),
        torch.full((1,), -5.0),
        torch.ones(1, 2),
    )
    assert CompiledRows(rows, rows, 1).draw(*given, torch.ones(1, 2)).isnan().any()


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


def test_the_size_of_blocks_bounds_their_ratings_and_their_number_of_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = torch.cat([torch.arange(1000), torch.arange(8).repeat(63)])
    given = rows, torch.zeros_like(rows), 1000, 1
    large = blocks.divide(*given, 2**20)
    assert [tuple(block.ratings.shape) for block in large] == [(992, 1), (8, 64)]
    monkeypatch.setattr(blocks, "MOST_ROWS", 500)
    small = blocks.divide(*given, 256)
    assert [len(block.rows) for block in small] == [*[256] * 3, 224, 4, 4]
    assert [len(block.rows) for block in blocks.divide(*given, 2**20)] == [500, 492, 8]


def test_without_numba_a_sweep_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    users, items = torch.arange(20).repeat(40), torch.arange(30).repeat_interleave(40)[:800]
    swept = []
    for engine in (gibbs.compiled, None):
        monkeypatch.setattr(gibbs, "compiled", engine)
        torch.manual_seed(1)
        sides = gibbs.EntitySide(20, 3, []), gibbs.EntitySide(30, 3, [])
        values = torch.linspace(-2, 2, 800)
        sampler = gibbs.Sampler(users, items, values, *sides, False, gibbs.Priors())
        swept.append((sampler.sweep(), sampler.user_side.rows, sampler.item_side.rows))
    for compiled, plain in zip(*swept, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("user_noise", [True, False])
def test_a_sweep_is_all_on_the_gpu_and_does_not_wait_for_it(user_noise: bool) -> None:
    torch.manual_seed(0)
    users, items = torch.arange(20).repeat(40), torch.arange(30).repeat_interleave(40)[:800]
    values, feature = torch.randn(800), Feature("a", torch.randn(20, 5).numpy())

    def sampler(device: torch.device) -> gibbs.Sampler:
        torch.manual_seed(1)
        sides = (
            gibbs.EntitySide(20, 3, [feature.to(device)]).to(device),
            gibbs.EntitySide(30, 3, []).to(device),
        )
        ratings = (each.to(device) for each in (users, items, values))
        return gibbs.Sampler(*ratings, *sides, user_noise, gibbs.Priors())

    compiled = sampler(torch.device("cpu"))
    expected = compiled.sweep(relaxation=-0.9)
    with SimulatedGpu() as gpu:
        on_gpu = sampler(GPU)
        with gpu.no_waiting():
            residuals = on_gpu.sweep(relaxation=-0.9)
        assert residuals.device == on_gpu.user_side.rows.device == GPU
        torch.testing.assert_close(residuals.cpu(), expected, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(on_gpu.noise.cpu(), compiled.noise, rtol=1e-3, atol=1e-3)
