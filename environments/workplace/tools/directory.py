"""The company directory: nineteen addresses."""

from __future__ import annotations

from typing import Any

from environments.workplace.desk import Desk
from environments.workplace.tools.matching import contains
from gym_core.tools import tool


@tool(read_only=True)
def find_email_address(desk: Desk, name: str = "") -> Any:
    """Find the email addresses that contain a name.

    Args:
        name: first name, last name or part of one, in any case
    """
    if name == "":
        return "Name not provided."
    return [address for address in desk.world.directory if contains(address, name)]
