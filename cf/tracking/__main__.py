"""The process that `cf.tracking.record.recording` starts, so that MLflow costs a stage no time.

It reads run records, one a line as JSON, and makes MLflow say what they say. MLflow takes longer to
import than a small model takes to train; here it is imported while the stage works, and no failure
of it can harm the stage. Usage: python -m cf.tracking STARTED_MS
"""

import json
import os
import sys
import time
from contextlib import suppress
from itertools import takewhile
from queue import SimpleQueue
from threading import Thread
from typing import IO, TYPE_CHECKING

from cf.core import shared_process
from cf.core.errors import InputError
from cf.tracking import login
from cf.tracking.record import DONE, FAILED, LATER, RunRecord
from cf.tracking.redact import RedactedStream

if TYPE_CHECKING:
    from cf.tracking.mlflow_store import MlflowStore

WARNING = "warning: MLflow did not record all of this: "
LAST_TRIES = 3  # after the stage has ended: others may create the same at the same time
SLOW_S = 5.0


def record(incoming: IO[str]) -> str:
    """Record what a stage writes until it has ended; a warning, and FAILED, if something is
    missing, else DONE.
    """
    inbox: SimpleQueue[str] = SimpleQueue()  # so that the stage never waits
    reader = Thread(target=read, args=(incoming, inbox), daemon=True)
    reader.start()
    store: MlflowStore | None = None
    with suppress(Exception):  # it is tried again when there is a record
        store = open_store()
    pending: dict[str, RunRecord] = {}  # that still run, or could not be written
    error: Exception | None = None
    closed, tries = False, 0
    while tries < LAST_TRIES and (pending or not closed):
        lines = [] if closed else [inbox.get(), *(inbox.get() for _ in range(inbox.qsize()))]
        closed = closed or "" in lines
        whole = (line for line in lines if line.endswith("\n"))  # a stage may die while writing
        arrived = {new.id: new for new in (RunRecord(**json.loads(line)) for line in whole)}
        pending |= arrived
        for each in list((pending if closed else arrived).values()):
            if closed and each.status == "RUNNING":  # the stage that would have ended it is dead
                each.finish(status="KILLED")
            began = time.monotonic()
            try:
                store = store or open_store()
                store.upsert(each)
                if each.status != "RUNNING":
                    del pending[each.id]
            except Exception as failure:  # whatever it is, the stage goes on
                error = failure
                slow = time.monotonic() - began > SLOW_S and not isinstance(failure, InputError)
                if not reader.is_alive() and slow:
                    tries = LAST_TRIES  # a server that does not answer will not do so next time
                    break
        if closed:
            tries += 1
    if pending:
        reason = login.explain(str(error)) or repr(error)
        print(
            f"{WARNING}{reason}\n"
            f"         The results are not affected. Once that is fixed, {LATER}",
            file=sys.stderr,
            flush=True,
        )
    if store:
        store.close()
    return FAILED if pending else DONE


def open_store() -> "MlflowStore":
    """MLflow's store; only here is MLflow imported, when the inbox is open and the stage works."""
    from cf.tracking.mlflow_store import MlflowStore

    return MlflowStore(int(sys.argv[1]))


def read(incoming: IO[str], inbox: SimpleQueue[str]) -> None:
    """Put each line that the stage writes into the inbox, and an empty one when it has ended."""
    for line in takewhile(lambda line: line != shared_process.END, incoming):
        inbox.put(line)
    inbox.put("")


if __name__ == "__main__":
    sys.stderr = RedactedStream(sys.stderr)
    shared_process.serve(record)
    os._exit(0)  # at once: taking MLflow's modules down takes Python a second
