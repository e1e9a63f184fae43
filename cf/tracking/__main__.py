"""The process that `cf.tracking.record.recording` starts, so that MLflow costs a stage no time.

It reads run records from standard input, one a line as JSON, and makes MLflow say what they say.
MLflow takes longer to import than a small model takes to train; here it is imported while the
stage works, and no failure of it can harm the stage. Usage: python -m cf.tracking STARTED_MS
"""

import json
import sys
import time
from collections.abc import Iterable
from threading import Condition, Thread
from typing import TYPE_CHECKING

from cf.tracking.record import RunRecord

if TYPE_CHECKING:
    from cf.tracking.mlflow_store import MlflowStore

LAST_TRIES = 3  # after the stage has ended: others may create the same at the same time
SLOW_S = 5.0


class Inbox:
    """The latest state of each record that has arrived, read at any time: the stage never waits.

    Attributes:
        closed: whether the stage has handed over everything, or has died.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.closed = False
        self._records: dict[str, RunRecord] = {}
        self._changed = Condition()
        Thread(target=self._read, args=(lines,), daemon=True).start()

    def take(self) -> dict[str, RunRecord]:
        """The records that arrived since the last call, by id; waits for one or for the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._records or self.closed)
            taken, self._records = self._records, {}
            return taken

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            if line.endswith("\n"):  # a stage that is killed while writing leaves half a line
                record = RunRecord(**json.loads(line))
                with self._changed:
                    self._records[record.id] = record
                    self._changed.notify()
        with self._changed:
            self.closed = True
            self._changed.notify()


def main() -> None:
    """Record until the stage has ended; exit status 1 and a warning if something is missing."""
    inbox, started = Inbox(sys.stdin), int(sys.argv[1])
    store: MlflowStore | None = None
    pending: dict[str, RunRecord] = {}  # that still run, or could not be written
    error: Exception | None = None
    last_tries = LAST_TRIES
    while last_tries > 0:
        last = inbox.closed
        pending |= (arrived := inbox.take())
        for record in list((pending if last else arrived).values()):
            if last and record.status == "RUNNING":  # the stage that would have ended it is dead
                record.status, record.ended = "KILLED", int(time.time() * 1000)
            began = time.monotonic()
            try:
                if store is None:
                    from cf.tracking import mlflow_store  # late: the inbox is open by now

                    store = mlflow_store.MlflowStore(started)
                store.upsert(record)
                if record.status != "RUNNING":
                    del pending[record.id]
            except Exception as failure:  # whatever it is, the stage goes on
                error = failure
                if inbox.closed and time.monotonic() - began > SLOW_S:
                    last_tries = 0  # a server that does not answer will not do so next time
                    break
        if last:
            last_tries = last_tries - 1 if pending else 0
    if pending:
        reason = next(iter(str(error).strip().splitlines()), repr(error))
        print(
            f"warning: MLflow did not record all of this: {reason}\n"
            "         The results are not affected. `make sync` records them later.",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
