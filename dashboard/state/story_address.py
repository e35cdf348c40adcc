"""What the stories of picked tokens put into the address, and how it is read back. Knows no Streamlit."""

from __future__ import annotations

from dataclasses import replace

from dashboard.state.address_problem import describe_unknown
from dashboard.state.choice import STORY_PARTS, StoryView


def build_story_address(view: StoryView) -> dict[str, str]:
    """The query parameter of the part that is open; nothing for the first one."""
    return {} if view == StoryView() else {"story": view.part}


def read_story_address(address: dict[str, str], view: StoryView) -> tuple[StoryView, list[str]]:
    """Apply the query parameter; returns the view with one sentence for a value that cannot be used."""
    if address.get("story") in STORY_PARTS:
        return replace(view, part=address["story"]), []
    if "story" in address:
        return view, [describe_unknown("story", address["story"], STORY_PARTS)]
    return view, []
