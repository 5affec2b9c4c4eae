"""Taking readings of how long something takes, and what may be said of them."""
