"""Contracts, as checks that anyone can run on parts of their own."""
