"""Networks in JAX: what an operator of the IR computes, weights by name, and the loop that trains them."""
