"""The folder of one run: what its files are called, who reads and writes them, and what every stage is given."""
