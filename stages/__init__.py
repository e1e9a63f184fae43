"""The stages of the pipeline, one thin script each."""

import gc
import signal
import sys

if sys.argv[0] == "-m":  # not where a test or a notebook imports a stage
    # Ctrl-C while a stage imports ends it at once; afterward `exit_on_input_error` takes over.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # An import of PyTorch makes so many objects that looking for garbage takes a fifth of its time.
    gc.set_threshold(1_000_000)
