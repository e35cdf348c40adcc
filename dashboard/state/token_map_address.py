"""What the map of all tokens puts into the address, and how it is read back. Knows no Streamlit."""

from __future__ import annotations

from dataclasses import replace

from dashboard.state.address_problem import describe_unknown
from dashboard.state.choice import TokenMapView
from dashboard.wording import MAP_ACROSS, MAP_UP


def build_token_map_address(view: TokenMapView) -> dict[str, str]:
    """The query parameters of the map; what has its default value is left out."""
    default = TokenMapView()
    parts = {
        "across": view.x if view.x != default.x else "",
        "up": view.y if view.y != default.y else "",
        "map-scale": "" if view.log_x else "linear",
    }
    return {name: text for name, text in parts.items() if text}


def read_token_map_address(address: dict[str, str], view: TokenMapView) -> tuple[TokenMapView, list[str]]:
    """Apply query parameters; returns the view with one sentence for each value that cannot be used."""
    problems = []
    for parameter, field_name, known in (("across", "x", MAP_ACROSS), ("up", "y", MAP_UP)):
        if address.get(parameter) in known:
            view = replace(view, **{field_name: address[parameter]})
        elif parameter in address:
            problems.append(describe_unknown(parameter, address[parameter], known))
    if address.get("map-scale") in ("log", "linear"):
        view = replace(view, log_x=address["map-scale"] == "log")
    elif "map-scale" in address:
        problems.append(describe_unknown("map-scale", address["map-scale"], ("log", "linear")))
    return view, problems
