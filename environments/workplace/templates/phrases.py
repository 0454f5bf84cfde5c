"""Words that tasks are written with: subjects, bodies, names of meetings and tasks that no world has."""

from __future__ import annotations

NOTES = (
    ("Quick question", "Do you have five minutes for me today?"),
    ("Numbers for Monday", "Please send me the latest numbers before Monday."),
    ("Well done", "Thank you for the great work this week."),
    ("Office closed", "The office stays closed on the 27th."),
    ("Change of plan", "We start one hour later than planned."),
    ("Draft attached", "The draft is on the shared drive, please comment."),
    ("Access request", "Could you give me access to the test system?"),
    ("Lunch", "Shall we have lunch together on Friday?"),
)
REPLIES = (
    "Thanks, I will look into it tomorrow.", "Got it, please go ahead.", "Could we talk about this on Monday?",
    "This looks good to me.", "Please add the figures before you send it on.", "I agree, let us do it.",
)  # fmt: skip
MEETINGS = (
    "Catch-up", "Status check", "Handover", "Risk review", "Onboarding talk", "Goal setting", "Launch rehearsal",
    "Feedback hour",
)  # fmt: skip
JOBS = (
    "Write release notes", "Update privacy page", "Check broken links", "Compress pictures", "Translate error texts",
    "Clean up test data", "Measure load time", "Rename settings menu",
)  # fmt: skip
CLIENTS = (
    "Avery Stone", "Rowan Pike", "Sasha Lund", "Toby Marsh", "Uma Fields", "Vic Harlan", "Wren Castle", "Yael Brook",
)  # fmt: skip
METRIC = {
    "total_visits": "total visits",
    "user_engaged": "engaged users",
    "session_duration_seconds": "average session duration",
}
PLOTTED = {
    "total_visits": "total visits",
    "session_duration_seconds": "session duration",
    "user_engaged": "engaged users",
    "visits_direct": "direct visits",
    "visits_referral": "visits by referral",
    "visits_search_engine": "visits from search engines",
    "visits_social_media": "visits from social media",
}
