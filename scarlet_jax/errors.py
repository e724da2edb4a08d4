"""The one exception for bad input, so that a launcher can print it as one line."""


class InputError(ValueError):
    """Bad input: the message names the offending value and what is allowed."""
