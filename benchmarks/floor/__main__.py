"""Time to 1% above the planted noise floor, of cf and other libraries, on made-up ratings.

Each system is fitted in a process of its own, for longer and longer, until its RMSE on held-out
ratings is at most 1.01 times what the truth has there, without the times of ratings. Systems are
measured in turn, round by round, one seed each, and of each the round with the median time is
shown. The figures go into a JSON file, which the next run compares with, and from which
`python -m benchmarks.frontier` draws.

The ratings are denser than in MovieLens: nine parameters a user and item, estimated from n ratings
in all, cost about 9 (users + items) / (2 n) in RMSE, which has to be less than 1%.
"""

import argparse
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.floor.systems import SYSTEMS
from benchmarks.floor.table import Measured, Point, changes, middle, table
from benchmarks.peers.children import result, say, version
from cf.core import io
from cf.data.synthetic import SHAPES, make

ABOVE = 1.01  # times the floor
HELD_OUT = 0.1  # of the ratings


def write(path: Path, sizes: tuple[int, int, int], seed: int) -> float:
    """Make ratings, split them at random, write them for `benchmarks.floor.one`.

    Returns:
        The floor: the RMSE of the truth without times on the held-out ratings, in stars.
    """
    n_users, n_items, n_ratings = sizes
    shape = replace(SHAPES["ml-1m"], n_users=n_users, n_items=n_items, n_ratings=n_ratings)
    made = make(shape, seed)
    held = np.random.default_rng(seed).random(n_ratings) < HELD_OUT
    for column in ("user_id", "item_id"):  # all of whom train knows
        held[np.unique(made.ratings[column], return_index=True)[1]] = False
    errors = made.ratings["rating"].to_numpy() - made.expected
    # The truth with times has an RMSE for each rating; without, for all in all.
    luck = np.sqrt(np.mean(errors[held] ** 2, dtype=np.float64)) / made.noise_floor
    floor = float(made.noise_floor_no_time * luck)
    of_columns = {"users": "user_id", "items": "item_id", "values": "rating"}
    arrays = {key: made.ratings[column].to_numpy() for key, column in of_columns.items()}
    for key in ("users", "items"):
        arrays[key] = arrays[key].astype(np.int64) - 1
    content: dict[str, Any] = {
        f"{part}_{key}": array[rows]
        for part, rows in (("train", ~held), ("valid", held))
        for key, array in arrays.items()
    }
    np.savez(path, n_users=n_users, n_items=n_items, target=ABOVE * floor, **content)
    return floor


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for name, size in (("users", 4_000), ("items", 2_500), ("ratings", 5_000_000)):
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--seed", type=int, default=1, help="of the ratings")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="that each system may use")
    parser.add_argument("--limit", type=float, default=60, help="seconds after which one gives up")
    parser.add_argument("--only", nargs="+", metavar="PACKAGE", help="such as cf cornac")
    parser.add_argument("--json", type=Path, help="the file with the last run's figures")
    options = parser.parse_args()
    wanted = [s for s in SYSTEMS.values() if not options.only or s.package in options.only]
    rounds: dict[str, list[Measured]] = {s.name: [] for s in wanted if version(s.package)}
    for system in wanted:
        if system.name not in rounds:
            say(f"{system.package} is not installed and left out: `make peers` installs it.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ratings.npz"
        floor = write(path, (options.users, options.items, options.ratings), options.seed)
        for seed in range(1, options.rounds + 1):
            for name in list(rounds):
                arguments = name, str(path), str(seed), str(options.limit)
                found = result("benchmarks.floor.one", *arguments, n_threads=options.threads)
                if found is None:
                    del rounds[name]
                    continue
                points = [Point(*point) for point in found["points"]]
                rounds[name].append(Measured(found["converted"], points))
                seconds, rmse = found["converted"] + points[-1].seconds, points[-1].rmse
                say(f"round {seed}: {name}: {rmse / floor - 1:.2%} above, {seconds:.2f} s")

    target = ABOVE * floor
    sizes = (
        f"{options.ratings:,} made-up ratings by {options.users:,} users of {options.items:,} items"
    )
    cores = f"{options.threads} thread(s) each on {os.cpu_count()} cores"
    print(
        f"{sizes}: the middle one of {options.rounds} round(s), {cores}; the floor is {floor:.4f}\n"
    )
    versions = {name: version(SYSTEMS[name].package) or "" for name in rounds}
    print(*table(rounds, versions, floor, target), sep="\n")
    if options.json:
        earlier = io.read_json(options.json) if options.json.exists() else {"systems": {}}
        now = {name: middle(runs, target) for name, runs in rounds.items()}
        if lines := changes(now, earlier["systems"]):
            print("", f"Since the run in {options.json}:", *lines, sep="\n")
        content = {"floor": floor, "systems": earlier["systems"] | now}
        io.write_json(options.json, io.round_floats(content))


if __name__ == "__main__":
    main()
