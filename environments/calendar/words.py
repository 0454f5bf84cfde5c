"""What people say in a calendar dialogue: names of events, wishes in several wordings, talk that changes nothing."""

# fmt: off
SHORT = (
    "tea", "yoga", "chess", "lunch", "call", "walk", "choir", "class", "rehearsal", "checkup", "swim", "drill",
    "music", "lab", "tour", "exam", "talk", "run", "visit", "dance", "golf", "review", "film", "clinic",
)
"""Level 0."""

TOPICS = (
    "Budget", "Garden", "Website", "Harbour", "Robotics", "Newsletter", "Museum", "Payroll", "Orchard", "Library",
    "Festival", "Kitchen", "Archive", "Sensor", "Ferry", "Theatre", "Clinic", "Solar Roof", "Bike Path", "Choir",
)
KINDS = (
    "Planning", "Review", "Standup", "Workshop", "Interview", "Walkthrough", "Briefing", "Retrospective", "Rehearsal",
    "Check-in", "Demo", "Budget Call", "Kickoff", "Handover", "Q&A",
)
PLAIN_DETAILS = ("", "", "", ": open questions", ": final numbers", ": who does what", " (first round)", ": part 2")
DETAILS = (*PLAIN_DETAILS, " [draft]", ' with the "night" team')
"""Some names hold brackets and quotes: they must be copied all the same. The first two events of a day have none,
because the public verifier finds no list in which every event has a bracket in its name."""
# fmt: on

ADD = (
    'Please add "{name}" (event id: {id}), {duration} minutes{wish}.',
    'I need {duration} minutes for "{name}"{wish}. Its event id is {id}.',
    'Put a new event on my calendar: "{name}", event id {id}, {duration} minutes long{wish}.',
    'Could you schedule "{name}"{wish}? It takes {duration} minutes, event id: {id}.',
)
WISHES = {
    "free": ("",),
    "before": (", before {first}", ", done by {first}", ", ending no later than {first}"),
    "after": (", after {first}", ", not starting before {first}", ", from {first} on"),
    "between": (", between {first} and {second}", ", somewhere from {first} to {second}"),
    "at": (", at {first}", ", starting at {first} sharp"),
}
CONSTRAIN = {
    "free": (
        '"{name}" (event id: {id}) may now be at any time.',
        'No wish about the time of "{name}" (event id: {id}) any more.',
    ),
    "before": (
        '"{name}" (event id: {id}) must end by {first}.',
        'Please have "{name}" (event id: {id}) before {first}.',
    ),
    "after": (
        '"{name}" (event id: {id}) cannot start before {first}.',
        'Please have "{name}" (event id: {id}) after {first}.',
    ),
    "between": (
        '"{name}" (event id: {id}) has to fit between {first} and {second}.',
        'Please keep "{name}" (event id: {id}) within {first} and {second}.',
    ),
    "at": ('"{name}" (event id: {id}) starts at {first}.', 'Could "{name}" (event id: {id}) be at {first}?'),
}
CHANGED = (
    "Change of plan: {wish}",
    "Forget what I said about its time. {wish}",
    "One correction, instead of the old wish: {wish}",
)
RESIZE = (
    '"{name}" (event id: {id}) now takes {duration} minutes.',
    'Make "{name}" (event id: {id}) {duration} minutes long.',
)
CANCEL = ('Please cancel "{name}" (event id: {id}).', '"{name}" (event id: {id}) is off, remove it.')
TALK = (
    "Thanks, that looks good. I started to grow tomatoes on the balcony last week.",
    "Great. By the way, the concert on Saturday was wonderful.",
    "Perfect, thank you! I am reading a book about lighthouses these days.",
    "Good. My sister says that the new bakery sells the best rye bread in town.",
    "Nice. At 9pm I still have to feed the neighbour's cat, but that is nothing for this calendar.",
    "That works. It has rained for three days here, and the river is at 2 m.",
)
SMALL_REPLIES = ("Sounds lovely!", "Good to hear.", "Thank you for telling me.", "Enjoy it!")
EXAMPLE = '[{"event_id": 0, "event_name": "name", "start_time": "10:00", "duration": 60}]'
RULES = f"""You keep the user's calendar for one day. It is empty at the start.
- End every reply with the whole calendar as one JSON list, also when nothing has changed: {EXAMPLE}.
  An empty calendar is [].
- event_id is an integer and event_name the name as the user gave it; start_time is HH:MM on a 24-hour clock;
  duration is an integer of minutes.
- All events lie between 10am and 4pm and never overlap. When they would, move events within the user's wishes.
- A wish about an event's time holds until the user replaces it. "before 11am" means that the event ends at 11am or
  earlier, "after 2pm" that it starts at 2pm or later, "at 1pm" that it starts then.
- Ask nothing back. Answer other talk in a few words."""
SHORTEST = (
    "Add {name} at {start} for {duration} minutes, id {id}.",
    "At {start}: {name}, {duration} minutes, id {id}.",
    "{name}, id {id}, starts {start}, takes {duration} minutes.",
    "Id {id} is {name} at {start}, {duration} minutes.",
)
