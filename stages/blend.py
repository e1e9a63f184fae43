"""Who rates what, and how much predicted ratings count beside it in lists: to blend/."""

import shutil
from pathlib import Path

from cf.core import config, io, paths
from cf.core.errors import exit_on_input_error
from cf.core.progress import working
from cf.core.ratings import Provenance, Ratings, SplitInfo, sample_users
from cf.inference import lists, weights
from cf.inference.load import load_answers, trained


@exit_on_input_error
@working("blend: fitting who rates what")
def main() -> None:
    """Fit who rates what, and choose the weight of each trained model."""
    if io.read_dataclass(paths.SPLIT_INFO, SplitInfo).method == "k_fold":
        shutil.rmtree(paths.BLEND, ignore_errors=True)
        paths.BLEND.mkdir()
        print("Nothing to blend: a fold of a cross-validation recommends nothing.")
        return
    rank = config.load(paths.PARAMS, "rank", config.Rank)
    provenance = io.read_dataclass(paths.SPLIT_PROVENANCE, Provenance)
    provenance.require_ratings("blend")
    of_users = sample_users(provenance)
    train = Ratings.read(paths.TRAIN, provenance, of_users)
    if of_users is not None:
        print(f"Fitted to {len(train):,} ratings of {of_users.sum():,} users, drawn at random.")
    data = train, provenance.n_users, provenance.n_items
    models = {name: load_answers(paths.MODELS / name) for name in sorted(trained(Path()))}
    answers = {name: formula for name, formula in models.items() if formula}
    likely, chosen = weights.fit(*data, answers, rank)
    likely.save(paths.BLEND)
    io.write_json(paths.BLEND / lists.BLEND, chosen)
    shown = ", ".join(f"{name} {weight:g}" for name, weight in chosen.items())
    print(f"Weights of predicted ratings in lists: {shown}")


if __name__ == "__main__":
    main()
