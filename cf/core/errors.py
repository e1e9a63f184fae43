"""The one error that is meant for the user's eyes."""


class InputError(Exception):
    """Something the user gave cannot be used.

    The message says what was expected, what was got, where (file, line, column, key) and what
    to do. Stages print it without a traceback.
    """
