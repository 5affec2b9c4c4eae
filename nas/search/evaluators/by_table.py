"""Networks of a run judged by looking them up: a tabular benchmark as an experiment, where every answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from latency_models.table import load_table, nb201
from latency_models.tabular import SHIPPED
from nas.errors import InputError
from nas.exits.scores import Scores
from nas.run.context import Context
from nas.search.evaluators.table import TableEvaluator, load_accuracy
from search_spaces.slots import Genomes, exit_positions, sizes

Floats = NDArray[np.float64]


class Tabulated:
    """Satisfies `base.Evaluator` and `base.KnowsEveryNetwork`: nothing is trained, and no image is looked at.

    `accuracies` is the file of `table.load_accuracy`, a row per row of the latency table `latencies`, and `column` the
    data set there. Raises InputError for files or a space that do not fit.
    """

    needs_weights: ClassVar[bool] = False

    def __init__(self, context: Context, *, accuracies: str, column: int = 0, latencies: str = SHIPPED) -> None:
        space = context.space
        if len(exit_positions(space)) > 1:
            raise InputError(f"a table knows one accuracy per network, and space {space.name} has early exits")
        if context.experiment.search.balanced:
            raise InputError("a table knows accuracies and not those of classes: write accuracy for balanced_accuracy")
        try:
            table = nb201() if latencies == SHIPPED else load_table(latencies)
        except ValueError as error:
            raise InputError(str(error)) from error
        known = load_accuracy(Path(accuracies), table)
        if not 0 <= column < known.shape[1]:
            raise InputError(f"column is {column}, and {accuracies} has {known.shape[1]} data sets")
        if table.ops.shape[1] != len(space.genes) or (table.ops.max(axis=0) >= sizes(space)).any():
            raise InputError(
                f"the table's networks have {table.ops.shape[1]} genes, and space {space.name} has "
                f"{len(space.genes)} with {', '.join(map(str, sizes(space)))} options: it is a table of another space"
            )
        self._table, self._column = TableEvaluator(table, known), column
        # Others are not what a search asks for: the same network has a row of its own.
        self.genomes = table.ops[(space.canonical(table.ops) == table.ops).all(axis=1)]
        if not len(self.genomes):
            raise InputError(f"the table has no network of space {space.name} by its canonical genome")

    def accuracy(self, genomes: Genomes) -> Floats:
        """The accuracy of canonical genomes [n, genes] as the table has it [n]; InputError for one that it lacks."""
        return self._table(genomes)["accuracy"][:, self._column]

    def scores(self, genome: NDArray[np.int64], images: int, present: NDArray[np.bool_]) -> Scores:
        """The only exit's answers [images, 1], as many of them right as the accuracy says, to the nearest image."""
        right = round(float(self.accuracy(genome[None])[0]) * images)
        return Scores(np.ones((images, 1)), np.arange(images)[:, None] < right)
