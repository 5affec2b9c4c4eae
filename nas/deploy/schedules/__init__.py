"""How does TVM compute a network well without tuning? Rules that make kernels of operators, written in TVM's own IR."""

from typing import Final

#: Raised with every change that makes other machine code: what was compiled or measured before is another thing.
VERSION: Final = 2
