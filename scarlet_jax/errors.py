"""The errors that a launcher prints as one line."""


class InputError(ValueError):
    """Bad input: the message names the offending value and what is allowed."""


class DivergedError(RuntimeError):
    """Training left the finite numbers: the message says where, and what is saved."""


class MismatchError(RuntimeError):
    """An exported file is not the model that it was made of."""
