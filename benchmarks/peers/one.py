"""Fit one system in this process, and print what it cost and gave as the last line, in JSON.

Usage: python -m benchmarks.peers.one NAME SEED THREADS
"""

import json
import resource
import sys
import time
from dataclasses import asdict

import numpy as np

from benchmarks.peers import case as cases
from benchmarks.peers.case import Answers, Case
from benchmarks.peers.systems import SYSTEMS
from benchmarks.peers.table import Measured
from cf.core.errors import exit_on_input_error
from cf.evaluation import metrics, ranking


def score(answers: Answers, case: Case) -> float:
    """RMSE of stars, (n,), or NDCG of lists, (n, k).

    Raises:
        ValueError: a prediction is missing or not finite, so that others would be judged on more.
    """
    if answers.ndim == 2:
        return float(ranking.user_metrics(answers.astype(np.int64), case.task)["ndcg"].mean())
    if answers.shape != case.valid.values.shape or not np.isfinite(answers).all():
        finite = int(np.isfinite(answers).sum())
        raise ValueError(f"expected {len(case.valid)} predictions, got {finite} finite ones")
    return metrics.rmse(answers.astype(np.float32), case.valid.values)


@exit_on_input_error
def main() -> None:
    """Measure and print."""
    name, seed, n_threads = sys.argv[1:]
    case = cases.read(int(seed), int(n_threads))
    steps = SYSTEMS[name].steps(case)
    clocks = [(time.perf_counter(), time.process_time())]
    try:
        while True:
            next(steps)
            clocks.append((time.perf_counter(), time.process_time()))
    except StopIteration as end:
        clocks.append((time.perf_counter(), time.process_time()))
        answers: Answers = end.value
    wall, cpu = np.diff(clocks, axis=0).T
    imported, fitted, predicted = wall.tolist()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    costs = imported, fitted, predicted, float(cpu[1:].sum()), peak
    print(json.dumps(asdict(Measured(score(answers, case), *costs))))


if __name__ == "__main__":
    main()
