"""A small bank: accounts, money that is conserved, tasks judged by the final state of the session's books."""
