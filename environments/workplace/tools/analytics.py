"""Website analytics: visitors, counts by day, plots. Plots are files that are only named."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from environments.workplace.desk import Desk, Row
from environments.workplace.tables import PLOTS, VISITS
from environments.workplace.tools.matching import between
from gym_core.tools import tool

VALUES = (
    "total_visits", "session_duration_seconds", "user_engaged", "visits_direct", "visits_referral",
    "visits_search_engine", "visits_social_media",
)  # fmt: skip
PLOT_TYPES = ("bar", "line", "scatter", "histogram")


def _shown(visit: Row) -> Row:
    return {**visit, "user_engaged": bool(visit["user_engaged"])}


def _by_day(desk: Desk, time_min: str, time_max: str) -> dict[str, list[Row]]:
    """Visits of a range by day, days in order."""
    days: dict[str, list[Row]] = defaultdict(list)
    for visit in desk.rows(VISITS):
        if between(visit["date_of_visit"], time_min, time_max):
            days[visit["date_of_visit"]].append(visit)
    return dict(sorted(days.items()))


@tool(read_only=True)
def get_visitor_information_by_id(desk: Desk, visitor_id: str) -> Any:
    """All visits of a visitor.

    Args:
        visitor_id: id of the visitor
    """
    if not visitor_id:
        return "Visitor ID not provided."
    found = [_shown(visit) for visit in desk.rows(VISITS) if visit["visitor_id"] == visitor_id]
    return found or "Visitor not found."


@tool
def create_plot(desk: Desk, time_min: str, time_max: str, value_to_plot: str, plot_type: str) -> Any:
    """Plot a value over a range of days; answers the path of the picture.

    Args:
        time_min: first day, YYYY-MM-DD
        time_max: last day, YYYY-MM-DD
        value_to_plot: total_visits, session_duration_seconds, user_engaged, visits_direct, visits_referral, visits_search_engine or visits_social_media
        plot_type: bar, line, scatter or histogram
    """  # noqa: E501
    if not time_min:
        return "Start date not provided."
    if not time_max:
        return "End date not provided."
    if value_to_plot not in VALUES:
        return f"Value to plot must be one of {', '.join(repr(value) for value in VALUES)}"
    if plot_type not in PLOT_TYPES:
        return "Plot type must be one of 'bar', 'line', 'scatter', or 'histogram'"
    path = f"plots/{time_min}_{time_max}_{value_to_plot}_{plot_type}.png"
    desk.append(PLOTS, {"file_path": path})
    return path


@tool(read_only=True)
def total_visits_count(desk: Desk, time_min: str = "", time_max: str = "") -> Any:
    """Number of visits by day.

    Args:
        time_min: first day, YYYY-MM-DD
        time_max: last day, YYYY-MM-DD
    """
    return {day: len(visits) for day, visits in _by_day(desk, time_min, time_max).items()}


@tool(read_only=True)
def engaged_users_count(desk: Desk, time_min: str = "", time_max: str = "") -> Any:
    """Number of engaged users by day.

    Args:
        time_min: first day, YYYY-MM-DD
        time_max: last day, YYYY-MM-DD
    """
    days = _by_day(desk, time_min, time_max)
    return {day: sum(1 for visit in visits if visit["user_engaged"]) for day, visits in days.items()}


@tool(read_only=True)
def traffic_source_count(desk: Desk, time_min: str = "", time_max: str = "", traffic_source: str = "") -> Any:
    """Number of visits by day from one traffic source, or from all.

    Args:
        time_min: first day, YYYY-MM-DD
        time_max: last day, YYYY-MM-DD
        traffic_source: direct, referral, search engine or social media
    """
    days = _by_day(desk, time_min, time_max)
    return {
        day: sum(1 for visit in visits if not traffic_source or visit["traffic_source"] == traffic_source)
        for day, visits in days.items()
    }


@tool(read_only=True)
def get_average_session_duration(desk: Desk, time_min: str = "", time_max: str = "") -> Any:
    """Average session duration by day, in seconds.

    Args:
        time_min: first day, YYYY-MM-DD
        time_max: last day, YYYY-MM-DD
    """
    days = _by_day(desk, time_min, time_max)
    return {
        day: sum(float(visit["session_duration_seconds"]) for visit in visits) / len(visits)
        for day, visits in days.items()
    }
