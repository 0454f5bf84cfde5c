"""Environments of the project, one folder each; found by their manifest, never imported from here."""
