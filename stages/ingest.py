"""A published data set, or the user's own file, to data/ingested."""

import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cf.core import io, paths
from cf.core.config import Ingest, load
from cf.core.errors import exit_on_input_error
from cf.core.io import atomic_write
from cf.core.provenance import Provenance
from cf.data import datasets, movielens
from cf.data import ratings_file as tabular


@exit_on_input_error
def main() -> None:
    """Obtain the data set that params.yaml names, check it and write it down."""
    params = load(paths.PARAMS, "ingest", Ingest)
    if params.dataset in datasets.REGISTRY:
        source = datasets.obtain(params.dataset, params.fallback)
        _warn(source)
        ratings, items = movielens.read(source.path, source.rating_range)
    else:
        lowest, highest = params.rating_range
        source = datasets.own_file(params.dataset, (lowest, highest))
        ratings, items = tabular.read(source.path, params.columns, source.rating_range)
    for table, path in ((ratings, paths.RATINGS), (items, paths.ITEMS)):
        with atomic_write(path) as tmp_path:
            pq.write_table(table, tmp_path)
    provenance = _provenance(source, ratings)
    io.write_dataclass(paths.PROVENANCE, provenance)
    print(
        f"{provenance.dataset}: {provenance.n_ratings:,} ratings of {provenance.n_items:,} items "
        f"by {provenance.n_users:,} users"
    )


def _warn(source: datasets.Source) -> None:
    if source.warning:
        print(f"WARNING: {source.warning}", file=sys.stderr)


def _provenance(source: datasets.Source, ratings: pa.Table) -> Provenance:
    return Provenance(
        dataset=source.dataset,
        requested=source.requested,
        source=source.origin,
        sha256=source.sha256,
        n_ratings=ratings.num_rows,
        n_users=pc.count_distinct(ratings["user_id"]).as_py(),
        n_items=pc.count_distinct(ratings["item_id"]).as_py(),
        rating_range=source.rating_range,
    )


if __name__ == "__main__":
    main()
