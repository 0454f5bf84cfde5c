"""Alembic environment of the store; `versions` holds one file per revision, the tables as they came to be."""
