"""Which of the registered models is the champion. Nothing is stored here."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelVersion:
    """A version of the registered model, with its RMSE on the validation rows.

    `decision` is the reason it has, if any, for being the champion or not. `is_servable`: whether
    MLflow can serve it.
    """

    version: int
    rmse: float
    dataset_sha256: str
    split_sha256: str
    decision: str = ""
    is_servable: bool = True


@dataclass(frozen=True)
class Decision:
    """Whether a version is the champion from now on, and the text of its tag `decision`."""

    promote: bool
    reason: str


def candidate(rmse: Mapping[str, float], part: str, split_method: str) -> str | None:
    """The model that may become the champion: the trained one with the lowest RMSE.

    None on the test set, since selecting a model on it would invalidate it, and none in a fold of
    a cross-validation, which is there to evaluate a method.
    """
    if part != "valid" or split_method == "k_fold" or not rmse:
        return None
    return min(rmse, key=lambda name: (rmse[name], name))


def decide(new: ModelVersion, champion: ModelVersion | None, is_only_version: bool) -> Decision:
    """Whether `new` is the champion: with a lower RMSE on the same data set and split.

    With the same RMSE, too, if `new` can be served and the champion cannot.
    The answer for the champion itself is the same each time: it stays, for the same reason. Where
    no version has the alias, `champion` is None. If `new` is not the only version then, somebody
    has removed the alias, and a person has to set it again.
    """
    if champion is None:
        if is_only_version:
            return Decision(True, "champion: the first version")
        return Decision(False, "no champion: there is none to compare with. Set the alias by hand.")
    if new.version == champion.version:
        if champion.decision.startswith("champion"):
            return Decision(True, champion.decision)
        return Decision(True, "champion: the alias was set by hand")
    other = f"version {champion.version}"
    if (new.dataset_sha256, new.split_sha256) != (champion.dataset_sha256, champion.split_sha256):
        problem = f"{other} is of another data set or split and cannot be compared"
        return Decision(False, f"no champion: {problem}. Set the alias by hand to replace it.")
    if new.rmse == champion.rmse and new.is_servable and not champion.is_servable:
        return Decision(True, f"champion: as good as {other}, which MLflow cannot serve")
    promote = new.rmse < champion.rmse
    verdict, relation = ("champion", "below") if promote else ("no champion", "not below")
    rmse = f"RMSE {new.rmse:.6f} is {relation} {champion.rmse:.6f}"
    return Decision(promote, f"{verdict}: {rmse} of {other}, on the same rows")
