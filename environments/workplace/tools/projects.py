"""Project board: read, search, create, delete and update tasks."""

from __future__ import annotations

from typing import Any

from environments.workplace.company import BOARDS, LISTS
from environments.workplace.desk import Desk
from environments.workplace.tables import COLUMNS, TASKS
from environments.workplace.tools.matching import contains, is_email
from gym_core.tools import tool

_BAD_BOARD = "Board not valid. Please choose from: 'Back end', 'Front end', 'Design'."
_BAD_LIST = "List not valid. Please choose from: 'Backlog', 'In Progress', 'In Review', 'Completed'."
_BAD_ASSIGNEE = "Assignee email not valid. Please choose from the list of team members."


def _is_member(desk: Desk, email: str) -> bool:
    """Only who has a task already is a member of the team."""
    return desk.holds(TASKS, "assigned_to_email", email)


@tool(read_only=True)
def get_task_information_by_id(desk: Desk, task_id: str, field: str) -> Any:
    """Read one field of a task.

    Args:
        task_id: 8-digit id of the task
        field: task_id, task_name, assigned_to_email, list_name, due_date or board
    """
    if not task_id:
        return "Task ID not provided."
    if not field:
        return "Field not provided."
    task = desk.get(TASKS, task_id)
    if task is None:
        return "Task not found."
    return {field: task[field]} if field in task else "Field not found."


@tool(read_only=True)
def search_tasks(
    desk: Desk,
    task_name: str = "",
    assigned_to_email: str = "",
    list_name: str = "",
    due_date: str = "",
    board: str = "",
) -> Any:
    """Search tasks that fit every argument given.

    Args:
        task_name: text in the name of the task
        assigned_to_email: whole address of the person it is assigned to
        list_name: Backlog, In Progress, In Review or Completed
        due_date: YYYY-MM-DD
        board: Back end, Front end or Design
    """
    wanted = {"task_name": task_name, "list_name": list_name, "due_date": due_date, "board": board}
    if not any((assigned_to_email, *wanted.values())):
        return "No search parameters provided."
    if assigned_to_email and not is_email(assigned_to_email):
        return "Invalid email format for assigned_to_email."
    return [
        task
        for task in desk.rows(TASKS)
        if (not assigned_to_email or _lower(task["assigned_to_email"]) == assigned_to_email.lower())
        and all(not text or contains(task[field], text) for field, text in wanted.items())
    ]


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else None


@tool
def create_task(desk: Desk, task_name: str, assigned_to_email: str, list_name: str, due_date: str, board: str) -> Any:
    """Create a task; answers its id.

    Args:
        task_name: name of the task
        assigned_to_email: address of a team member
        list_name: Backlog, In Progress, In Review or Completed
        due_date: YYYY-MM-DD
        board: Back end, Front end or Design
    """
    if not all((task_name, assigned_to_email, list_name, due_date, board)):
        return "Missing task details."
    assigned_to_email = assigned_to_email.lower()
    if not _is_member(desk, assigned_to_email):
        return _BAD_ASSIGNEE
    if list_name not in LISTS:
        return _BAD_LIST
    if board not in BOARDS:
        return _BAD_BOARD
    key = str(int(desk.highest(TASKS) or "") + 1).zfill(8)
    values = (key, task_name, assigned_to_email, list_name, due_date, board)
    desk.append(TASKS, dict(zip(COLUMNS[TASKS], values, strict=True)))
    return key


@tool
def delete_task(desk: Desk, task_id: str) -> Any:
    """Delete a task.

    Args:
        task_id: 8-digit id of the task
    """
    if not task_id:
        return "Task ID not provided."
    return "Task deleted successfully." if desk.delete(TASKS, task_id) else "Task not found."


@tool
def update_task(desk: Desk, task_id: str, field: str, new_value: str) -> Any:
    """Change one field of a task.

    Args:
        task_id: 8-digit id of the task
        field: task_name, assigned_to_email, list_name, due_date or board
        new_value: the new value
    """
    if not task_id or not field or not new_value:
        return "Task ID, field, or new value not provided."
    if field == "assigned_to_email":
        new_value = new_value.lower()
    if field == "board" and new_value not in BOARDS:
        return _BAD_BOARD
    if field == "list_name" and new_value not in LISTS:
        return _BAD_LIST
    if field == "assigned_to_email" and not _is_member(desk, new_value):
        return _BAD_ASSIGNEE
    if desk.get(TASKS, task_id) is None:
        return "Task not found."
    if field not in COLUMNS[TASKS] or (desk.fixed_keys and field == "task_id"):
        return "Field not valid."
    desk.update(TASKS, task_id, field, new_value)
    return "Task updated successfully."
