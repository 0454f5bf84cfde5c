"""Run by every rank of `play` (conftest.py), which leaves as globals the module and what its main needs."""

from __future__ import annotations

import importlib
import json
import warnings

warnings.simplefilter("error")
given = globals()
played = importlib.import_module(given["SCRIPT"])
found = played.main(given["RANK"], given["WORLD"], given["INIT"], *given["ARGUMENTS"])
given["RESULT"].write_text(json.dumps(found))
