"""The two ways a well-behaved run can end without a result: the question was malformed, or nothing answers it."""


class InputError(ValueError):
    """Something the user gave cannot be used: one message that says what, why and what to do; the CLI exits 2."""


class NothingFits(Exception):
    """The question was well-formed, but no network keeps the budget; carries the `statement` to print; exit code 3."""

    def __init__(self, statement: str) -> None:
        super().__init__(statement)
        self.statement = statement
