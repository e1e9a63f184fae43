from dataclasses import replace

import pytest

from cf.evaluation.champion import Decision, ModelVersion, candidate, decide

FIRST = ModelVersion(1, 0.9, "data", "split", "champion: the first version")


def test_the_first_version_is_the_champion() -> None:
    decision = decide(FIRST, None, is_only_version=True)
    assert decision == Decision(True, "champion: the first version")


def test_a_removed_alias_is_left_to_the_user() -> None:
    decision = decide(FIRST, None, is_only_version=False)
    assert decision == Decision(
        False, "no champion: there is none to compare with. Set the alias by hand."
    )


@pytest.mark.parametrize(
    ("rmse", "promote", "reason"),
    [
        (0.8, True, "champion: RMSE 0.800000 is below 0.900000"),
        (0.9, False, "no champion: RMSE 0.900000 is not below 0.900000"),
        (0.95, False, "no champion: RMSE 0.950000 is not below 0.900000"),
    ],
)
def test_only_a_lower_rmse_on_the_same_rows_is_promoted(
    rmse: float, promote: bool, reason: str
) -> None:
    decision = decide(ModelVersion(2, rmse, "data", "split"), FIRST, is_only_version=False)
    assert decision == Decision(promote, f"{reason} of version 1, on the same rows")


@pytest.mark.parametrize("other", [{"dataset_sha256": "x"}, {"split_sha256": "x"}])
def test_other_rows_cannot_be_compared(other: dict[str, str]) -> None:
    decision = decide(replace(FIRST, version=2, rmse=0.1, **other), FIRST, False)
    assert decision == Decision(
        False,
        "no champion: version 1 is of another data set or split and cannot be compared. "
        "Set the alias by hand to replace it.",
    )


def test_evaluating_the_champion_again_changes_nothing() -> None:
    champion = FIRST
    for _ in range(3):
        decision = decide(replace(champion, decision=""), champion, is_only_version=True)
        assert decision == Decision(True, "champion: the first version")
        champion = replace(champion, decision=decision.reason)
    worse = ModelVersion(2, 0.95, "data", "split")
    first, again = (decide(worse, champion, False) for _ in range(2))
    assert first == again
    by_hand = replace(worse, decision=first.reason)
    assert decide(worse, by_hand, False) == Decision(True, "champion: the alias was set by hand")


def test_the_candidate_is_the_best_on_validation_rows_of_one_split() -> None:
    rmse = {"dot": 1.1, "embnet": 0.9, "dotbias": 0.9}
    assert candidate(rmse, "valid", "random") == "dotbias"
    assert candidate(rmse, "test", "random") is None
    assert candidate(rmse, "valid", "k_fold") is None
    assert candidate({}, "valid", "random") is None


def test_a_champion_that_cannot_be_served_gives_way_to_one_as_good() -> None:
    old = replace(FIRST, is_servable=False)
    decision = decide(replace(FIRST, version=2), old, is_only_version=False)
    assert decision == Decision(True, "champion: as good as version 1, which MLflow cannot serve")
    for rmse, is_servable in ((0.91, True), (0.9, False)):
        other = ModelVersion(2, rmse, "data", "split", is_servable=is_servable)
        assert not decide(other, old, is_only_version=False).promote
