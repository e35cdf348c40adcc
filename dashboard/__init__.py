"""The Streamlit app: `app` opens a page, each page is a package in `views`, and `controls` are what several pages show.

`report` makes files and slides of the pages' blocks, `state` alone knows what was chosen and the address, only
`loaders` and a page's own loading files cache, and `kslottery_core` computes every statistic.
"""
