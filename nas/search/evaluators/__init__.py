"""What judges genomes: metrics of networks without, or before, training them for real."""

#: Evaluators by name; a YAML may also name its own `module:Class`.
EVALUATORS: dict[str, str] = {
    "supernet": "nas.search.evaluators.supernet:SupernetEvaluator",
    "table": "nas.search.evaluators.table:TableEvaluator",
}
