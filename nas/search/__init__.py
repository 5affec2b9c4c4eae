"""The search as arrays: the problem, what a genome is worth, and which candidates become winners."""
