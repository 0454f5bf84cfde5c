"""The 27 published tools, one module for each database: plain functions of a `Desk`, their texts the published ones.

Parameters without a default are declared as required. A call that leaves them out still arrives, as None, and is
answered as the published tool answers it. What a tool returns is JSON; a text is what went wrong, or a confirmation.
"""
