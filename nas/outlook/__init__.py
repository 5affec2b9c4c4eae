"""What can be known of a run before it begins: whether it can be carried out, and about what it will cost."""
