"""The stages of the pipeline, one thin script each."""

import signal

# Ctrl-C while a stage imports ends it at once; afterward `exit_on_input_error` takes over.
signal.signal(signal.SIGINT, signal.SIG_DFL)
