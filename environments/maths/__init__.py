"""Mathematics with one boxed final answer, checked symbolically."""
