"""The ways a well-behaved run can end without a result: a malformed question, no answer, or others that do better."""


class InputError(ValueError):
    """Something the user gave cannot be used: one message that says what, why and what to do; the CLI exits 2."""


class NothingFits(Exception):
    """The question was well-formed, but no network keeps the budget; carries the `statement` to print; exit code 3."""

    def __init__(self, statement: str) -> None:
        super().__init__(statement)
        self.statement = statement


class StoppedEarly(Exception):
    """The sweep of a run has stopped it, since others are better; carries the `statement` to print; exit code 3."""

    def __init__(self, statement: str) -> None:
        super().__init__(statement)
        self.statement = statement
