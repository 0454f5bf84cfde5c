"""The 58 out-of-distribution ids of IFBench (arXiv 2507.02833), by family.

`check` wants what the constraint says; `published` repeats the verdicts of the public checkers (allenai/IFBench at
db69a6f), their quirks included, wherever those need no trained model.
"""
