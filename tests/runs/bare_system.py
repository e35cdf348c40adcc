"""A stand-in for macOS and Windows: takes away what only Linux or Unix has, then works on a run.

As a program: `bare_system.py FAKE_MODE FOLDER` works on a run with the fake tuning; `bare_system.py real FOLDER` with
the real one. Importing it takes the names away too.
"""

import os
import sys

import psutil  # on Linux it needs itself what is taken away here

if sys.argv[1:2] == ["real"]:  # and so do these
    import peft  # noqa: F401
    import sacrebleu.metrics  # noqa: F401
    import transformers.models.llama.modeling_llama
    import transformers.trainer  # noqa: F401

del psutil.Process.cpu_affinity
for name in ("sched_getaffinity", "killpg", "getpgid"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("fcntl", "resource"):
    sys.modules[name] = None

if __name__ == "__main__":
    mode, folder = sys.argv[1:]
    if mode == "real":
        from kslottery_core.runs.worker import main

        raise SystemExit(main([folder]))
    import fake_work

    from kslottery_core.runs.worker import work

    work(folder, tune=fake_work.make_tune(mode, 0.02), evaluate=fake_work.make_evaluate(mode, 0.02))
