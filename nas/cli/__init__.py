"""The command line: one file per family of commands, whose `add` adds its parsers with argparse alone.

Whatever is heavy is imported where a command is carried out, so that `nas --help` answers at once.
"""
