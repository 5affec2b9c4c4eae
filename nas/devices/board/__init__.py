"""Boards over a pipe: a program of ours is started there through a command such as ssh, and times networks there."""
