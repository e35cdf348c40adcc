"""The command line: each command reads its arguments, calls the rooms, prints. No computing happens here."""
