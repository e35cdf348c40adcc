"""What the pages show, put together for others: blocks, and the file and the slides made of them. No Streamlit here.

`registry.BLOCKS` is the one table of blocks; `report.build_report` turns some of them into a `Report`, `html_file` and
`slides` show it. `run_tables`, `finding_tables` and `csv_file` are shared with the pages.
"""
