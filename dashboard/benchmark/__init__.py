"""How quick the dashboard is and how much memory it takes, measured in a real browser: `python -m dashboard.benchmark`.

Run by hand. It starts servers of its own on pairs that it makes in a temporary folder, and leaves nothing behind.
"""
