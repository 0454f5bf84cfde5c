"""Files of rows: reading them line by line, checking, counting and blending them, without holding them in memory.

Every function here streams: a file of any size costs one line at a time, and at most a few numbers per row. What knows
rows of one kind is asked from outside (an environment's service), so nothing here imports an environment.
"""
