"""The Streamlit app: `app` arranges pages, `views` are the pages, `components` their parts, `figures` the pictures.

Only `loaders` caches, only `session` knows the address, and `kslottery_core` computes every statistic.
"""
