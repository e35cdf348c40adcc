"""What the pages show, put together for others: blocks, and the file and the slides made of them. No Streamlit here.

`report.build_report` turns blocks, which the pages hand over, into a `Report`; `html_file` and
`slides` show it. `csv_file` is shared with the pages.
"""
