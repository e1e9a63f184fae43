"""Ratings to train and validation rows: data/encoded to data/split."""

from hashlib import sha256

from cf import params
from cf.data import splitting, tables
from cf.data.tables import Provenance, SplitFacts
from stages import paths
from stages.stage import stage


@stage
def main() -> None:
    """Hold out a share of the rows."""
    split = params.load(paths.PARAMS, "split", params.Split)
    ratings = tables.read_ratings(paths.ENCODED_RATINGS)
    train_rows, valid_rows = splitting.random_split(len(ratings), split.fraction, split.seed)
    train, valid = ratings.take(train_rows), ratings.take(valid_rows)
    facts = SplitFacts(
        fraction=split.fraction,
        seed=split.seed,
        n_train=len(train),
        n_valid=len(valid),
        n_cold=int(splitting.cold(train, valid).sum()),
        sha256=sha256(valid_rows.astype("<i8").tobytes()).hexdigest(),
    )
    tables.write_ratings(paths.TRAIN, train)
    tables.write_ratings(paths.VALID, valid)
    tables.write_facts(paths.SPLIT_FACTS, facts)
    provenance = tables.read_facts(paths.PROVENANCE, Provenance)
    tables.write_facts(paths.SPLIT_PROVENANCE, provenance)


if __name__ == "__main__":
    main()
