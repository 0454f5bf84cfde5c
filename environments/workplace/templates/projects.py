"""Templates about the project board."""

from __future__ import annotations

from environments.workplace.company import BOARDS, LISTS, TODAY
from environments.workplace.templates.phrases import JOBS
from environments.workplace.templates.story import Story, day_name, full_day, template

_D = "project_management"


@template(_D, 0, ("project_management_update_task", "project_management_delete_task"))
def shift_by_id(s: Story) -> str:
    task = s.rng.choice(s.facts.tasks())
    where = s.rng.choice([name for name in LISTS if name != task["list_name"]])
    s.set_task(task, "list_name", where)
    return s.rng.choice(("Move task {i} to {w}.", "Put task {i} on the list {w}.")).format(i=task["task_id"], w=where)


@template(_D, 0, ("project_management_delete_task", "project_management_update_task"))
def drop_by_id(s: Story) -> str:
    task = s.rng.choice(s.facts.tasks())
    s.write("project_management_delete_task", task_id=task["task_id"])
    return s.rng.choice(("Delete task {i}.", "Task {i} is not needed, delete it.")).format(i=task["task_id"])


@template(_D, 1)
def new_task(s: Story) -> str:
    person, name, board, due = s.member(), s.rng.choice(JOBS), s.rng.choice(BOARDS), s.workday()
    s.assign(person, name, due, board)
    return f"Add a backlog task '{name}' for {person.first} on the {board} board, due on {full_day(due)}."


@template(_D, 1)
def finish_named(s: Story) -> str:
    person = s.member()
    mine = [task for task in s.tasks_of(person) if task["list_name"] != "Completed"]
    s.need(mine)
    task = s.rng.choice(mine)
    s.need(sum(other["task_name"] == task["task_name"] for other in mine) == 1)
    s.set_task(task, "list_name", "Completed")
    return f"{person.first} has finished the task '{task['task_name']}'. Move it from {task['list_name']} to Completed."


@template(_D, 1)
def delete_first_due(s: Story) -> str:
    person = s.member()
    mine = sorted(s.tasks_of(person), key=lambda task: task["due_date"])
    s.need(len(mine) > 1 and mine[0]["due_date"] != mine[1]["due_date"])
    s.write("project_management_delete_task", task_id=mine[0]["task_id"])
    return f"Delete the task of {person.first} that is due first of all."


@template(_D, 2)
def move_review(s: Story) -> str:
    person = s.member()
    found = s.tasks_of(person, where="In Review")
    s.need(found)
    for task in found:
        s.set_task(task, "list_name", "Completed")
    return f"All tasks of {person.first} that are in review are done. Move them to Completed."


@template(_D, 2)
def postpone(s: Story) -> str:
    person, due = s.member(), s.workday()
    found = [task for task in s.tasks_of(person, where="In Progress") if task["due_date"] != str(due)]
    s.need(found)
    for task in found:
        s.set_task(task, "due_date", str(due))
    return f"Set the due date of every task that {person.first} has in progress to {full_day(due)}."


@template(_D, 2)
def reassign_board(s: Story) -> str:
    person, board = s.member(), s.rng.choice(BOARDS)
    to = s.other(person, s.company.team)
    found = [task for task in s.tasks_of(person, board=board) if task["list_name"] == "In Progress"]
    s.need(found)
    for task in found:
        s.set_task(task, "assigned_to_email", to.email)
    return f"{to.first} takes over what {person.first} has in progress on the {board} board. Reassign it."


@template(_D, 3)
def chase_late(s: Story) -> str:
    person, due = s.member(), s.workday()
    late = s.late_tasks(person)
    if len(late) > 3:
        s.need(len(late) <= 7)
        for task in late:
            s.set_task(task, "due_date", str(due))
    else:
        mine = sorted(s.facts.tasks(email=person.email), key=lambda task: task["due_date"])
        s.need(mine and [task["due_date"] for task in mine].count(mine[-1]["due_date"]) == 1)
        s.say(mine[-1]["task_name"])
    return (
        f"How many tasks of {person.first} are overdue (due before today and not completed)? If it is more than "
        f"three, set their due date to {full_day(due)}. Otherwise change nothing and reply only with the name of the "
        f"task of {person.first} that is due last."
    )


@template(_D, 3)
def task_for_the_freer(s: Story) -> str:
    one = s.member()
    two = s.other(one, s.company.team)
    name, board, due = s.rng.choice(JOBS), s.rng.choice(BOARDS), s.workday()
    loads = {person: len(s.tasks_of(person, where="Backlog")) for person in (one, two)}
    s.need(loads[one] != loads[two])
    s.assign(min(loads, key=loads.__getitem__), name, due, board)
    return (
        f"Create a backlog task '{name}' on the {board} board, due {day_name(due)}, for {one.first} or {two.first}: "
        "whoever has fewer tasks in the backlog."
    )


@template(_D, 3)
def which_is_late(s: Story) -> str:
    person = s.member()
    late = sorted(s.late_tasks(person), key=lambda task: task["task_id"])
    s.need(len(late) > 1)
    s.say(", ".join(task["task_id"] for task in late))
    return (
        f"Which tasks of {person.first} are overdue (due before today and not completed)? Change nothing, reply only "
        "with their ids in ascending order, separated by a comma and a space."
    )


@template(_D, 4)
def share_out_late(s: Story) -> str:
    person, board = s.member(), s.rng.choice(BOARDS)
    late = [task for task in s.late_tasks(person) if task["board"] == board]
    rest = [one for one in s.company.team if one.alone and one != person]
    one, two = s.rng.sample(rest, 2)
    loads = {other: len(s.tasks_of(s.look_up(other), board=board)) for other in (one, two)}
    s.need(late and loads[one] != loads[two])
    to = min(loads, key=loads.__getitem__)
    for task in late:
        s.set_task(task, "assigned_to_email", to.email)
        s.set_task(task, "list_name", "In Progress")
    return (
        f"Give the overdue tasks (due before today, not completed) of {person.first} on the {board} board to "
        f"{one.first} or {two.first}, to the one with fewer tasks on that board, and move them to In Progress."
    )


@template(_D, 4)
def clean_up_completed(s: Story) -> str:
    person = s.member()
    done = [task for task in s.tasks_of(person, where="Completed") if task["due_date"] < str(TODAY)]
    s.need(len(done) > 1)
    for task in done:
        s.write("project_management_delete_task", task_id=task["task_id"])
    name, board, due = s.rng.choice(JOBS), s.rng.choice(BOARDS), s.workday()
    s.assign(person, name, due, board)
    return (
        f"Delete the completed tasks of {person.first} that were due before today, then add '{name}' to their backlog "
        f"on the {board} board, due {full_day(due)}."
    )


@template(_D, 5)
def balance_namesakes(s: Story) -> str:
    pairs = [p for p in s.company.team if not p.alone and any(q != p and q.first == p.first for q in s.company.team)]
    s.need(pairs)
    person = s.look_up(s.rng.choice(pairs))
    twin = next(q for q in s.company.team if q.first == person.first and q != person)
    late, theirs = s.late_tasks(person), s.late_tasks(twin)
    s.need(len(late) != len(theirs))
    busy, free, moved = (person, twin, late) if len(late) > len(theirs) else (twin, person, theirs)
    s.need(len(moved) <= 8)
    for task in moved:
        s.set_task(task, "assigned_to_email", free.email)
    assert busy != free
    return (
        f"Two people called {person.first} are in the project team. Whoever of them has more overdue tasks (due "
        "before today, not completed) hands all of these over to the other one."
    )
