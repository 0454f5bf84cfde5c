"""Templates about the website's analytics."""

from __future__ import annotations

from datetime import timedelta

from environments.workplace.company import TODAY
from environments.workplace.templates.phrases import METRIC, PLOTTED
from environments.workplace.templates.story import Story, day_name, template

_D = "analytics"
_KINDS = ("bar", "line", "scatter", "histogram")


@template(_D, 0, ("analytics_create_plot", "analytics_total_visits_count"))
def plot_between(s: Story) -> str:
    value, kind, first = s.rng.choice(list(PLOTTED)), s.rng.choice(_KINDS), s.past_day(80)
    s.plot(value, kind, first)
    return f"Make a {kind} plot of {value} from {first} to {TODAY}."


@template(_D, 1)
def plot_month(s: Story) -> str:
    value, kind = s.rng.choice(list(PLOTTED)), s.rng.choice(_KINDS)
    first = s.past_day(60)
    last = first + timedelta(days=s.rng.choice((7, 10, 14)))
    s.need(last < TODAY)
    s.plot(value, kind, first, last)
    return f"Plot {PLOTTED[value]} from {day_name(first)} to {day_name(last)} as a {kind} plot."


@template(_D, 1)
def plot_since(s: Story) -> str:
    value, kind, first = s.rng.choice(list(PLOTTED)), s.rng.choice(_KINDS), s.past_day(80)
    s.plot(value, kind, first)
    return f"I need a {kind} plot of {PLOTTED[value]} since {day_name(first)}, up to today."


@template(_D, 2)
def plot_two(s: Story) -> str:
    one, two = s.rng.sample(list(PLOTTED), 2)
    kind, first = s.rng.choice(_KINDS), s.past_day(60)
    s.plot(one, kind, first)
    s.plot(two, kind, first)
    return f"Make two {kind} plots since {day_name(first)} up to today: {PLOTTED[one]} and {PLOTTED[two]}."


@template(_D, 2)
def best_day(s: Story) -> str:
    metric, since = s.rng.choice(list(METRIC)), s.past_day(80)
    days = s.metric(metric, since)
    best = max(days.values())
    s.need(list(days.values()).count(best) == 1 and len(days) > 4)
    s.say(next(day for day, value in days.items() if value == best))
    return (
        f"On which day since {day_name(since)} (that day included) was {METRIC[metric]} highest? Change nothing, "
        "reply only with the day as YYYY-MM-DD."
    )


@template(_D, 2)
def plot_from_best_day(s: Story) -> str:
    metric, since, kind = s.rng.choice(list(METRIC)), s.past_day(80), s.rng.choice(_KINDS)
    days = s.metric(metric, since)
    worst = min(days.values())
    s.need(list(days.values()).count(worst) == 1 and len(days) > 4)
    day = next(day for day, value in days.items() if value == worst)
    s.plot(metric, kind, TODAY.fromisoformat(day))
    return (
        f"Find the day since {day_name(since)} (that day included) on which {METRIC[metric]} was lowest, and make a "
        f"{kind} plot of {METRIC[metric]} from that day up to today."
    )


@template(_D, 3)
def plot_if_ever(s: Story) -> str:
    metric, since, kind = s.rng.choice(("total_visits", "user_engaged")), s.past_day(30), s.rng.choice(_KINDS)
    limit = s.rng.randint(9, 24) if metric == "total_visits" else s.rng.randint(6, 16)
    days = s.metric(metric, since)
    if max(days.values()) > limit:
        s.plot(metric, kind, since)
    else:
        s.say(f"{sum(days.values()):g}")
    return (
        f"If {METRIC[metric]} was more than {limit} on any day since {day_name(since)} (that day included), make a "
        f"{kind} plot of it from that day up to today. Otherwise change nothing and reply only with the sum of "
        f"{METRIC[metric]} over these days."
    )


@template(_D, 3)
def plot_one_or_other(s: Story) -> str:
    since, kind = s.past_day(40), s.rng.choice(_KINDS)
    visits, engaged = s.metric("total_visits", since), s.metric("user_engaged", since)
    share = s.rng.choice((40, 45, 50, 55))
    high = sum(engaged.values()) * 100 > share * sum(visits.values())
    s.plot("user_engaged" if high else "total_visits", kind, since)
    return (
        f"Compare engaged users with total visits since {day_name(since)} (that day included). If more than {share}% "
        f"of the visits were engaged, make a {kind} plot of engaged users from then up to today, otherwise the same "
        "of total visits."
    )


@template(_D, 4)
def plot_growth(s: Story) -> str:
    week, kind = TODAY - timedelta(days=s.rng.randint(5, 20)), s.rng.choice(_KINDS)
    one, two = s.rng.sample(list(METRIC), 2)
    first, second = s.metric(one, week), s.metric(two, week)
    s.need(all(str(day) in series for series in (first, second) for day in (week, TODAY)))
    s.need(all(series[str(week)] > 0 for series in (first, second)))
    grown = [series[str(TODAY)] / series[str(week)] for series in (first, second)]
    s.need(grown[0] != grown[1])
    s.plot(one if grown[0] > grown[1] else two, kind, week)
    s.plot("visits_direct", kind, week)
    return (
        f"Which grew more, in percent, from {day_name(week)} to today: {METRIC[one]} or {METRIC[two]}? Make a {kind} "
        f"plot of that one from {day_name(week)} up to today, and one of direct visits over the same time."
    )


@template(_D, 5)
def nested_plots(s: Story) -> str:
    since, kind, limit = s.past_day(25), s.rng.choice(_KINDS), s.rng.randint(8, 20)
    visits, engaged = s.metric("total_visits", since), s.metric("user_engaged", since)
    if max(visits.values()) <= limit:
        s.plot("total_visits", kind, since)
    elif max(engaged.values()) * 2 > max(visits.values()):
        s.plot("user_engaged", kind, since)
        s.plot("visits_referral", kind, since)
    else:
        s.plot("session_duration_seconds", kind, since)
    return (
        f"Look at the days since {day_name(since)} (that day included). If total visits never went above {limit}, "
        f"make a {kind} plot of total visits. If they did: where the best day of engaged users is more than half of "
        f"the best day of total visits, make {kind} plots of engaged users and of visits by referral; otherwise one "
        "of session duration. All plots run from that day up to today."
    )
