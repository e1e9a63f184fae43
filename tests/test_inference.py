"""Models as NumPy: the same predictions as the modules, and people who are not in the data."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch.nn.functional import normalize

from cf.bayes.sample import allocate_residuals
from cf.bayes.time_effects import Moments
from cf.core.errors import InputError
from cf.core.neighbors import SHRINKAGE, weights
from cf.core.ratings import Ratings
from cf.inference import load as loading
from cf.inference.base import Answers
from cf.inference.bayesmf import BayesMF, _corrections_without_each
from cf.inference.questions import Questions
from cf.models import base
from cf.models.bayesmf import BayesMF as Module
from cf.models.bayesmf import frozen
from cf.training.checkpoint import ModelSpec, save

PARAMS = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text())
SECTIONS = {name: values for name, values in PARAMS.items() if name.startswith("train_")}
N_USERS, N_ITEMS, RANGE = 7, 9, (1.0, 10.0)
draw = np.random.default_rng(0)
USERS, ITEMS = draw.integers(0, N_USERS, 40), draw.integers(0, N_ITEMS, 40)
TIMES = draw.integers(-200, 2000, 40)
MOMENTS = [[0, 100, 160, 900], [50], [], [1000, 1001], [300, 700], [-100, 400, 1500], []]
AS_THEY_ARE = (
    *("interaction_basis", "interaction_center", "user_rows", "item_rows"),
    *("scales", "starts", "times"),
    *("rated_starts", "rated_items", "opens_moment", "item_directions"),
)


def module(section: str) -> tuple[base.Model, ModelSpec]:
    """A model with weights of sizes that matter."""
    torch.manual_seed(0)
    settings = SECTIONS[section]["model"] | {"n_factors": 4}
    if "n_samples" in settings:
        settings["n_samples"] = 6
    spec = ModelSpec(settings, N_USERS, N_ITEMS, RANGE)
    model = spec.build("test")
    if isinstance(model, Module):
        starts = torch.tensor([0, *itertools.accumulate(map(len, MOMENTS))])
        times = torch.tensor([time for of_user in MOMENTS for time in of_user])
        model.set_moments(torch.tensor([600, 60]).double(), starts, times)
        model.set_interactions(torch.randn(N_ITEMS, 3), torch.randn(3))
        of_users = torch.repeat_interleave(torch.tensor(list(map(len, MOMENTS))))
        users, when = of_users.repeat(4), times.repeat(4)  # four ratings a moment
        moments = Moments(users, when, N_USERS)
        allocate_residuals(
            model, users, torch.tensor(draw.integers(0, N_ITEMS, len(users))), moments
        )
        model.item_directions = frozen(normalize(torch.randn(N_ITEMS, 3)))
    with torch.no_grad():
        for name, values in model.named_parameters():
            last = name.split(".")[-1]
            positive = last in ("noise", "variances", "noise_shape", "noise_rate")
            if name == "prior_precision":
                values.copy_(torch.eye(5) * torch.rand(6, 1, 1).add(1))
            elif last in ("user_steps", "item_steps"):  # rows are whole numbers up to 127
                values.uniform_(0.01, 0.02)
            elif last not in AS_THEY_ARE:
                values.copy_(
                    torch.rand_like(values) + 0.1 if positive else torch.randn_like(values)
                )
        if "offset_damping" in settings:
            model.get_buffer("user_offset").normal_()
    return model, spec


def samples(model: Module) -> tuple[np.ndarray, np.ndarray]:
    """The rows of all users and items in each sample of the chain without times, in 64 bits."""
    found = zip(*map(model.timeless.rows, range(len(model.timeless))), strict=True)
    users, items = (torch.stack(rows).double().numpy() for rows in found)
    return users, items


def answers(section: str, folder: Path) -> tuple[base.Model, Answers]:
    model, spec = module(section)
    save(folder, model, spec)
    found = loading.load_answers(folder)
    assert found is not None
    return model, found


@pytest.mark.parametrize("section", SECTIONS)
def test_predictions_are_those_of_the_module(tmp_path: Path, section: str) -> None:
    model, same = answers(section, tmp_path)
    for rows in (slice(0, 0), slice(0, 1), slice(None)):
        for times in (TIMES[rows], None):
            pairs = USERS[rows], ITEMS[rows], times
            expected, deviation = base.predict_mean_and_std(model, *pairs)
            mean, std = same.predict(*pairs)
            np.testing.assert_allclose(mean, expected, atol=1e-5)
            assert (std is None) == (deviation is None)
            if std is not None:
                np.testing.assert_allclose(std, deviation, atol=1e-4)


def test_predictions_at_a_time_are_those_of_the_module(tmp_path: Path) -> None:
    """At a user's moments, between, before and after them, far away, and without any."""
    model, same = answers("train_bayesmf", tmp_path)
    asked = sorted({at + off for each in MOMENTS for at in each for off in (-1, 0, 1, 30)})
    asked += [-(10**9), 10**10]
    users, times = (each.ravel() for each in np.meshgrid(np.arange(N_USERS), asked))
    items = np.arange(len(users)) % N_ITEMS
    expected, deviation = base.predict_mean_and_std(model, users, items, times)
    mean, std = same.predict(users, items, times)
    assert deviation is not None
    np.testing.assert_allclose(mean, expected, atol=1e-4)
    np.testing.assert_allclose(std, deviation, atol=1e-4)
    bare, bare_std = same.predict(users, items)
    near = np.array([t in MOMENTS[u] for u, t in zip(users, times, strict=True)])
    far = np.isin(users, [2, 6]) | (np.abs(times) > 10**8)
    assert np.abs(mean - bare)[near].mean() > 0.3, "the time made no difference"
    np.testing.assert_allclose(mean[far], bare[far], atol=1e-5)
    np.testing.assert_allclose(std[far], bare_std[far], atol=1e-5)


@pytest.mark.parametrize("section", SECTIONS)
def test_a_known_person_is_predicted_as_the_pairs_are(tmp_path: Path, section: str) -> None:
    _, same = answers(section, tmp_path)
    person = same.person(3)
    items = np.arange(N_ITEMS)
    mean, std = same.predict(np.full(N_ITEMS, 3), items)
    for of_items in (None, items):
        got, deviation = same.score(person, of_items)
        np.testing.assert_allclose(got, mean, atol=1e-5)
        if std is not None:
            np.testing.assert_allclose(deviation, std, atol=1e-4)
    alone, _ = same.new_item(person)
    assert RANGE[0] - 5 < alone < RANGE[1] + 5
    assert same.item_vectors().shape[0] == N_ITEMS


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "train_bayesmf"])
def test_a_table_is_what_the_pairs_are(tmp_path: Path, section: str) -> None:
    _, same = answers(section, tmp_path)
    people = [same.person(1), same.fold_in(np.array([2, 5]), np.array([4, 9], np.float32))]
    table = same.table(people)
    for row, person in enumerate(people):
        np.testing.assert_allclose(table[row], same.score(person, None)[0], atol=1e-4)


def test_a_table_of_bayesmf_is_the_mean_of_the_samples_before_they_are_clamped(
    tmp_path: Path,
) -> None:
    model, same = answers("train_bayesmf", tmp_path)
    assert isinstance(model, Module)
    rows, items = samples(model)
    sums = np.einsum("sk,sik->si", rows[:, 2, 1:], items[:, :, 1:]) + rows[:, 2, :1]
    sums = (sums + items[:, :, 0]).mean(0) + float(model.mean)
    np.testing.assert_allclose(same.table([same.person(2)])[0], sums * 2 - 0, atol=1e-4)


def test_a_new_person_of_bayesmf_has_the_posterior_of_a_linear_regression(tmp_path: Path) -> None:
    """One sample, noise that is known: Bishop 2006, equations 3.50 and 3.51."""
    model, spec = module("train_bayesmf")
    assert isinstance(model, Module)
    with torch.no_grad():
        model.noise_shape.fill_(1e8)
        model.noise_rate.fill_(0.5e8)
    save(tmp_path, model, spec)
    same = loading.load_answers(tmp_path)
    assert isinstance(same, BayesMF)
    items, ratings = np.array([0, 4, 5]), np.array([2, 9, 5.5], np.float32)
    person = same.fold_in(items, ratings)
    w = {name: values.detach().numpy().astype(float) for name, values in model.named_parameters()}
    _, item_rows = samples(model)
    row = 2 / 3**1.5 * w["interaction_basis"][items].sum(0) - 2 / 3 * w["interaction_center"]
    for s in range(6):
        designs = np.hstack([np.ones((3, 1)), item_rows[s, items, 1:]])
        targets = ratings / 2 - w["mean"] - item_rows[s, items, 0]  # from 1-10 to 0.5-5
        mean = w["prior_mean"][s] + row @ w["prior_coefficients"][s]
        system = w["prior_precision"][s] + 2 * designs.T @ designs
        expected = np.linalg.solve(system, w["prior_precision"][s] @ mean + 2 * designs.T @ targets)
        np.testing.assert_allclose(person.row[s], expected, rtol=1e-3, atol=1e-4)
        assert person.covariance is not None
        np.testing.assert_allclose(
            person.covariance[s], np.linalg.inv(system), rtol=1e-3, atol=1e-5
        )
    assert person.noise is not None
    np.testing.assert_allclose(person.noise, 0.5, rtol=1e-3)


def test_somebody_new_without_ratings_is_as_one_whom_training_has_not_met(tmp_path: Path) -> None:
    model, spec = module("train_dotbias_ensemble")
    met = USERS != 6
    values = np.full(met.sum(), 5, np.float32)
    ratings = Ratings(USERS[met], ITEMS[met], values, None, np.arange(met.sum()))
    model.before_training(ratings)
    model.after_epoch(ratings)
    save(tmp_path, model, spec)
    same = loading.load_answers(tmp_path)
    assert same is not None
    nobody = same.fold_in(np.zeros(0, np.int64), np.zeros(0, np.float32))
    unmet = same.predict(np.full(N_ITEMS, 6), np.arange(N_ITEMS))[0]
    np.testing.assert_allclose(same.score(nobody, None)[0], unmet, atol=1e-4)
    assert np.abs(same.score(same.person(5), None)[0] - unmet).max() > 0.5


def test_the_residuals_of_a_new_person_are_those_of_the_fitted_rows(tmp_path: Path) -> None:
    model, same = answers("train_bayesmf", tmp_path)
    assert isinstance(model, Module)
    items, ratings = np.array([0, 4, 5]), np.array([2, 9, 5.5], np.float32)
    person = same.fold_in(items, ratings)
    assert person.rated is not None
    _, item_rows = samples(model)
    factors = item_rows[:, items, 1:]
    sums = (factors * person.row[:, None, 1:]).sum(2) + person.row[:, :1] + item_rows[:, items, 0]
    expected = ratings / 2 - float(model.mean) - sums.mean(0)  # from 1-10 to 0.5-5
    np.testing.assert_array_equal(person.rated[0], items)
    np.testing.assert_allclose(person.rated[1], expected, atol=1e-4)


def test_corrections_without_each_rating_are_those_of_the_others(tmp_path: Path) -> None:
    _, same = answers("train_bayesmf", tmp_path)
    assert isinstance(same, BayesMF)
    items, ratings = np.array([1, 2, 6, 8, 3]), np.array([9, 3, 6, 2, 5], np.float32)
    targets = np.array([4, 6, 0])
    fit = same._fit(items, ratings)
    rows = fit.row[:, None] + draw.normal(0, 0.3, (6, 5, 5))  # without each rating: any rows
    w = weights(same._directions, targets, items)
    found = _corrections_without_each(w, fit, rows)
    for j in range(5):
        others = np.delete(np.arange(5), j)
        sums = np.einsum("smd,sd->sm", fit.designs, rows[:, j])
        residuals = (fit.targets - sums).mean(0)
        expected = w[:, others] @ residuals[others] / (w[:, others].sum(1) + SHRINKAGE)
        np.testing.assert_allclose(found[:, j], expected, atol=1e-5)
    assert np.abs(found).max() > 0.1


def test_nobody_is_expected_to_be_as_the_prior_says(tmp_path: Path) -> None:
    _, same = answers("train_bayesmf", tmp_path)
    assert isinstance(same, BayesMF)
    person = same.fold_in(np.zeros(0, np.int64), np.zeros(0, np.float32))
    np.testing.assert_allclose(person.row, same.weights["prior_mean"], atol=1e-5)


@pytest.mark.parametrize("section", SECTIONS)
def test_more_ratings_bring_a_new_person_nearer_to_them(tmp_path: Path, section: str) -> None:
    _, same = answers(section, tmp_path)
    items = np.arange(N_ITEMS)
    ratings = same.predict(np.full(N_ITEMS, 5), items)[0].clip(*RANGE)  # of somebody known
    nobody = same.score(same.fold_in(items[:0], ratings[:0]), items)[0]
    known = same.score(same.fold_in(items, ratings), items)[0]
    errors = [np.square(predicted - ratings).mean() for predicted in (nobody, known)]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("section", SECTIONS)
def test_what_a_rating_does_is_what_its_absence_would(tmp_path: Path, section: str) -> None:
    _, same = answers(section, tmp_path)
    items, ratings = np.array([1, 2, 6, 8]), np.array([9, 3, 6, 2], np.float32)
    (everything,), (without,) = same.without_each(items, ratings, np.array([4]))
    person = same.fold_in(items, ratings)
    assert everything == pytest.approx(same.score(person, np.array([4]))[0][0], abs=1e-4)
    for row in range(4):
        less = same.fold_in(np.delete(items, row), np.delete(ratings, row))
        refitted = same.score(less, np.array([4]))[0][0]
        assert abs(without[row] - refitted) < 0.3 * abs(everything - refitted) + 0.25


def test_a_rating_lowers_the_variance_by_as_much_as_was_expected(tmp_path: Path) -> None:
    """One sample, noise that is known: then it does not matter what the rating is."""
    model, spec = module("train_bayesmf")
    assert isinstance(model, Module)
    with torch.no_grad():
        rows = dict(model.timeless.named_parameters())
        del rows["noise"]
        for values in (*rows.values(), model.prior_mean, model.prior_precision):
            values.copy_(values[:1].expand_as(values).clone())
        model.prior_coefficients.zero_()
        model.noise_shape.fill_(1e8)
        model.noise_rate.fill_(0.5e8)
    save(tmp_path, model, spec)
    same = loading.load_answers(tmp_path)
    assert isinstance(same, BayesMF)
    weights, among = np.arange(N_ITEMS) / 10, np.array([6, 0, 3])
    items, ratings = np.array([1, 4]), np.array([2, 9], np.float32)
    gains = same.information(weights, np.ones(N_ITEMS), among)(items, ratings)

    def variance(rated: np.ndarray, values: np.ndarray) -> float:
        covariance = same.fold_in(rated, values).covariance
        assert covariance is not None
        designs = same.item_rows[0].astype(float)
        designs[:, 0] = 1
        of_items = np.einsum("id,de,ie->i", designs, covariance[0], designs)
        return float(weights @ of_items) * 2**2  # 9 points on the scale, 4.5 on the model's

    before = variance(items, ratings)
    for item, gain in zip(among, gains, strict=True):
        after = variance(np.append(items, item), np.append(ratings, np.float32(5)))
        assert gain == pytest.approx(before - after, rel=1e-3)


@pytest.mark.parametrize("section", SECTIONS)
def test_ratings_with_more_noise_tell_less(tmp_path: Path, section: str) -> None:
    _, same = answers(section, tmp_path)
    every, noise = np.arange(N_ITEMS), np.ones(N_ITEMS)
    rated = np.array([1]), np.array([5], np.float32)
    before = same.information(np.ones(N_ITEMS), noise, every)(*rated)
    noise[4] = 3
    after = same.information(np.ones(N_ITEMS), noise, every)(*rated)
    assert (before > 0).all()
    assert after[4] < 0.9 * before[4]
    np.testing.assert_array_equal(np.delete(after, 4), np.delete(before, 4))


def test_what_people_disagree_about_has_noise(tmp_path: Path) -> None:
    _, same = answers("train_dotbias", tmp_path)
    users, items = np.repeat(np.arange(N_USERS), 3), np.tile([2, 5, 7], N_USERS)
    ratings = same.predict(users, items)[0].copy()
    ratings[items == 5] += np.where(np.arange(N_USERS) % 2, 2, -2).astype(np.float32)
    questions = Questions(same, users, items, ratings, n_candidates=3)
    assert set(questions.items) == {2, 5, 7}
    assert questions.known[[2, 4, 5]].tolist() == [1, 0, 1]
    assert questions.noise[5] > 1 > questions.noise[2]
    assert questions.noise[4] == 1


def test_a_new_item_is_as_all_items_are_together(tmp_path: Path) -> None:
    _, same = answers("train_bayesmf", tmp_path)
    assert isinstance(same, BayesMF)
    same.mean = 2.75  # the middle of the range: nothing is clamped
    same.item_rows *= 0.1
    same.user_rows *= 0.1
    same.__dict__["_directions"] = np.zeros((N_ITEMS, 1), np.float32)  # no corrections
    people = same.person(3), same.fold_in(np.array([1, 4]), np.array([5, 6], np.float32))
    for person in people:
        mean, std = same.new_item(person)
        of_items, stds = same.score(person, None)
        assert mean == pytest.approx(of_items.mean(), abs=1e-3)
        variance = np.square(stds).mean() + of_items.var()
        assert std == pytest.approx(min(np.sqrt(variance), 4.5), rel=1e-3)  # half of 1 to 10


def test_a_model_without_a_formula_is_none(tmp_path: Path) -> None:
    model, spec = module("train_dot")
    save(tmp_path, model, spec)
    text = (tmp_path / "model.json").read_text()
    (tmp_path / "model.json").write_text(text.replace('"dot"', '"of_mine"'))
    assert loading.load_answers(tmp_path) is None


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{}", None])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    model, spec = module("train_dot")
    save(tmp_path, model, spec)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"^{tmp_path}: not a whole checkpoint"):
        loading.load_answers(tmp_path)


def test_every_model_of_params_yaml_answers() -> None:
    assert {values["model"]["name"] for values in SECTIONS.values()} == set(loading.MODELS)
