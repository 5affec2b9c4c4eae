"""Early exits on cached answers: how sure an exit is, when to leave, which exits to keep. NumPy only."""
