"""What customers say, and what the expert answers. Braces are filled by the story; `{records}` reads "order ORD-1"."""

from __future__ import annotations

GREETINGS = ("Hello.", "Good morning,", "Hi there!", "Good day.", "Hi,", "Hello, can you help me?")
I_AM = (
    "My {person} is {person_value}, my {secret} {secret_value}.",
    "{person_value} is my {person} and {secret_value} my {secret}.",
    "You will want my {person}, {person_value}, and my {secret}: {secret_value}.",
)
ONLY = ("My {phrase} is {value}.", "The {phrase}: {value}.", "You can have my {phrase}, it is {value}.")
GIVEN = ("It is {value}.", "Of course: {value}.", "{value}", "Here you are, {value}.")
BOTH_GIVEN = ("{person_value}, and {secret_value}.", "They are {person_value} and {secret_value}.")

ASKS = {
    "price": ("What does {records} cost?", "How much am I paying for {records}?", "Tell me the price of {records}."),
    "date": ("What is the {date} of {records}?", "I forgot the {date} of {records}. Which day is it?"),
    "option": ("Which {option} did I choose for {records}?", "What is the {option} of {records}?"),
}
WISHES = {
    "cancel": ("I want to cancel {records}.", "Please cancel {records}.", "I no longer need {records}, cancel please."),
    "move": (
        "Can {records} have another {date}, {value}?",
        "Please change the {date} of {records} to {value}.",
        "Something came up: I need {value} as {date} for {records}.",
    ),
    "change": (
        "I would like another {option} for {records}: {value}.",
        "Please switch {records} to {value}.",
        "For {records} make the {option} {value}, please.",
    ),
}
HANDOVERS = {
    "complaint": (
        "I want to complain about the way I was treated last week.",
        "Your service was a disgrace, I wish to file a complaint.",
    ),
    "invoice": ("I have a question about my last invoice.", "There is something odd on the invoice you sent me."),
    "group": (
        "We are {people} people and would like to make a new {record} for all of us.",
        "I need a new {record} for a group, {people} people in all.",
    ),
}
NEXT = ("One more thing.", "And another matter:", "While I have you:", "Thank you. Next:")
THANKS = ("I see.", "All right, thank you.", "Good, thanks.", "Pity, but I understand.")
YES = ("Yes.", "Yes, please do.", "Yes, go ahead.", "That is fine, yes.")
RATHER = ("No, wait.", "On second thoughts, no.", "Hm, then rather not.")

MISSING = ("What is your {missing}, please?", "Could you tell me your {missing}?", "May I have your {missing}?")
ANSWERS = {
    "price": ("It costs {fact} euros.", "The price is {fact} euros.", "You pay {fact} euros."),
    "date": ("It is {fact}.", "The {date} is {fact}.", "You have it down for {fact}."),
    "option": ("It is {fact}.", "The {option} is {fact}.", "You chose {fact}."),
}
PROPOSALS = {
    "cancel": ("If I cancel {ids}, you get {amount} euros back. Shall I? Please say yes.",),
    "move": ("Moving {ids} to {value} costs {amount} euros. Do you want that? Please answer yes.",),
    "change": ("Changing {ids} to {value} costs {amount} euros. Shall I go ahead, yes?",),
}
REFUSALS = ("I am sorry, {rule} does not allow that for {ids}.", "For {ids} that is not possible, see {rule}.")
REPORTS = ("Done. Your confirmation: {codes}.", "That is settled, the confirmation is {codes}.")
