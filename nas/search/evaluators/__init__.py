"""What judges genomes without training them for real: the supernet's weights in a run, a table in benchmarks."""
