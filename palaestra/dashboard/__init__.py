"""The page that shows runs, rollouts and services: read from stores and `/metrics`, written to by nothing."""
