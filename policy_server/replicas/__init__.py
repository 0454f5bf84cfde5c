"""Several policy servers behind one address."""
