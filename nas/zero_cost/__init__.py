"""Zero-cost scores: what networks of a space promise before any weight is trained. None of them is an accuracy."""
