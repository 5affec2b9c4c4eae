"""From the IR to numbers in JAX: interpreter, shared weights of a whole space, and the training of both."""
