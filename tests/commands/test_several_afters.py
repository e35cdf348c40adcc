"""`ks` with several checkpoints after one before, and what `ks` and `ticket` say of thresholds."""

import shutil

import pytest
import torch
from safetensors.torch import save_file

from kslottery_core.commands import pair_commands
from kslottery_core.commands.series_report import format_power
from kslottery_core.ks import compute_least_detectable_count, load_ks_result, load_ks_series

WIDTH = 40


@pytest.fixture
def make_file(tmp_path):
    """Save a lone file of 30 rows: those named in `counts` have exactly that count against make_file("before")."""

    def make(name, counts=None, width=WIDTH):
        rows = torch.arange(width, dtype=torch.float32).repeat(30, 1)
        for row, count in (counts or {}).items():
            rows[row] += count - 0.5  # shifted past exactly `count` of the before values
        path = tmp_path / f"{name}.safetensors"
        save_file({"rows": rows}, path)
        return path

    return make


@pytest.fixture
def steps(make_file):
    """Row 1 grows from step 10 to 30, row 2 is large throughout, row 3 shrinks."""
    return [
        make_file("before"),
        make_file("step_30", {1: 38, 2: 30, 3: 5}),
        make_file("step_10", {1: 10, 2: 30, 3: 20}),
        make_file("step_20", {1: 20, 2: 30, 3: 10}),
    ]


def find_table(out, heading):
    """Cells of the table whose header starts with `heading`, one list a line."""
    lines = out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(heading))
    table = []
    for line in lines[start + 2 :]:
        if not line or line.startswith("By chance"):
            break
        table.append([cell.strip() for cell in line.split("  ") if cell.strip()])
    return table


def test_winners_of_each_checkpoint_overlap_and_growth_are_printed(run, steps):
    status, out, err = run("ks", *steps, "--top", 2)
    assert (status, err) == (0, "")
    assert "3 checkpoints, 30 tokens of width 40 on cpu" in out
    least = compute_least_detectable_count(WIDTH, 0.05)
    assert least == 13
    assert f"at alpha 0.05 k >= {least} of 40 (D >= {least / WIDTH:.4f}) by the exact p; asymptotic tau = 0.3037" in out
    assert find_table(out, "checkpoint") == [
        ["step_30.safetensors", "30", "3", "0.9500", "2", "6.7%"],
        ["step_10.safetensors", "10", "3", "0.7500", "2", "6.7%"],
        ["step_20.safetensors", "20", "3", "0.7500", "2", "6.7%"],
    ]
    # Tickets {1, 2}, {2, 3}, {1, 2}: of two random pairs out of 30, P(I = 2) = 1/435 and P(I = 1) = 56/435.
    by_chance = f"{(1 + 56 / 3) / 435:.3g}"
    among_moved = f"{(1 + 2 / 3) / 3:.3g}"  # out of three rows: P(I = 2) = 1/3, P(I = 1) = 2/3
    assert find_table(out, "tickets") == [
        ["step_30.safetensors and step_10.safetensors", "1", "0.333", by_chance, among_moved, f"{57 / 435:.3g}"],
        ["step_30.safetensors and step_20.safetensors", "2", "1", by_chance, among_moved, f"{1 / 435:.3g}"],
        ["step_10.safetensors and step_20.safetensors", "1", "0.333", by_chance, among_moved, f"{57 / 435:.3g}"],
    ]
    assert "in all         1 token in every ticket (0.00889 expected by chance)" in out
    assert "in any         3 tokens in at least one ticket" in out
    assert "Tokens whose D grows most from step 10 to step 30\n" in out
    assert "step_10.safetensors  step_20.safetensors  step_30.safetensors" in out
    assert find_table(out, "token ") == [
        ["<row 1>", "1", "0.2500", "0.5000", "0.9500", "+0.7000"],
        ["<row 0>", "0", "0.0000", "0.0000", "0.0000", "+0.0000"],
    ]


def test_without_steps_in_the_names_tokens_are_listed_by_mean_d(run, make_file):
    files = [make_file("before"), make_file("seed-a", {1: 10, 2: 30}), make_file("seed-b", {1: 30, 2: 30})]
    status, out, _ = run("ks", *files, "--top", 1)
    assert status == 0
    assert "Tokens of largest mean D (the names tell no two training steps" in out
    assert find_table(out, "token ") == [["<row 2>", "2", "0.7500", "0.7500", "0.7500"]]
    assert [row[1] for row in find_table(out, "checkpoint")] == ["unknown", "unknown"]


def test_empty_tickets_have_an_undefined_jaccard(run, make_file):
    files = [make_file("before"), make_file("a", {1: 3}), make_file("b", {1: 2}), make_file("c", {1: 30})]
    status, out, _ = run("ks", *files, "--top", 0)
    assert status == 0
    overlap = find_table(out, "tickets")
    assert overlap[0][1:] == ["0", "undefined", "undefined", "undefined", "1"]
    assert overlap[1][1:4] == ["0", "0", "0"]
    assert "a.safetensors: At the significance level 0.05 the least D that wins" in out
    assert "Tokens" not in out


def test_nothing_moved_at_all_is_no_error(run, make_file):
    files = [make_file("before"), make_file("a"), make_file("b")]
    status, out, _ = run("ks", *files)
    assert (status, out.count("No row differs between before and after")) == (0, 2)
    assert "0 rows that any checkpoint moved" in out


def test_the_same_checkpoint_twice_is_allowed_and_told(run, make_file):
    before, after = make_file("before"), make_file("after", {1: 30})
    status, out, _ = run("ks", before, after, after)
    assert status == 0
    assert "after.safetensors and after.safetensors (2) hold the same rows" in out
    assert find_table(out, "tickets")[0][1:3] == ["1", "1"]


def test_many_checkpoints_keep_the_tables_readable(run, make_file):
    files = [make_file("before"), *(make_file(f"step_{n}", {1: n + 5}) for n in range(1, 13))]
    status, out, _ = run("ks", *files, "--top", 1)
    assert status == 0
    assert "... and 21 more pairs" in out
    assert len(find_table(out, "token ")[0]) == 2 + 8 + 1


def test_out_writes_the_series_and_one_after_keeps_its_own_file(run, steps, tmp_path):
    status, out, _ = run("ks", *steps, "--out", tmp_path / "s.npz")
    assert (status, out) == (
        0,
        f"Wrote 30 counts of width 40 for each of 3 checkpoints to {tmp_path / 's.npz'}.\n",
    )
    series = load_ks_series(tmp_path / "s.npz")
    assert series.steps == (30, 10, 20)
    assert series.get_statistics([1]).tolist() == [[0.95], [0.25], [0.5]]
    run("ks", *steps[:2], "--out", tmp_path / "one.npz")
    assert load_ks_result(tmp_path / "one.npz").counts[1] == 38


def test_a_named_matrix_is_compared_in_several_afters(run, tmp_path):
    for name, shift in (("before", 0.0), ("a", 1.0), ("b", 2.0)):
        tensors = {"first": torch.zeros(5, 8), "second": torch.randn(4, 8, generator=torch.Generator().manual_seed(0))}
        tensors["second"] += shift
        save_file(tensors, tmp_path / f"{name}.safetensors")
    files = [tmp_path / f"{name}.safetensors" for name in ("before", "a", "b")]
    status, out, _ = run("ks", *files, "--parameter", "second", "--unit", "row")
    assert (status, "4 tokens of width 8" in out) == (0, True)
    assert run("ks", *files)[0] == 2  # without a name nobody can tell which of the two is meant


def test_rows_that_are_no_tokens_are_not_named_after_tokens(run, tiny_llama_folder, tiny_tuned_llama_folder):
    name = "model.layers.0.mlp.up_proj.weight"
    status, out, _ = run("ks", tiny_llama_folder, tiny_tuned_llama_folder, "--parameter", name, "--top", 3)
    assert status == 0
    assert [row[0] for row in find_table(out, "row ")] == ["<row 0>", "<row 1>", "<row 2>"]
    assert "<unk>" in run("ks", tiny_llama_folder, tiny_tuned_llama_folder, "--parameter", "lm_head.weight")[1]
    named = run("ks", tiny_llama_folder, tiny_tuned_llama_folder, "--parameter", "model.embed_tokens.weight")[1]
    assert named == run("ks", tiny_llama_folder, tiny_tuned_llama_folder)[1]


def test_an_after_that_does_not_fit_is_named(run, make_file, tiny_llama_folder, tiny_tuned_llama_folder, tmp_path):
    before, wide = make_file("before"), make_file("wide", width=41)
    status, _, err = run("ks", before, make_file("fits", {1: 3}), wide)
    assert status == 2
    assert err.startswith("Error: after number 2: Expected two checkpoints of equal embedding width")
    assert "wide.safetensors" in err
    other = shutil.copytree(tiny_llama_folder, tmp_path / "other")
    content = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(content.replace('"</s>"', '"<end>"'))
    status, _, err = run("ks", tiny_llama_folder, other, tiny_tuned_llama_folder)
    assert (status, "after number 1: The tokenizers differ" in err, len(err.splitlines())) == (2, True, 1)


def test_broken_rows_of_one_after_are_named(run, make_file):
    before, broken = make_file("before"), make_file("broken", {4: float("nan")})
    status, _, err = run("ks", before, make_file("whole", {1: 3}), broken)
    assert (status, f"1 after number 2 in {broken} (ids 4)" in err) == (2, True)


@pytest.mark.parametrize(
    "options", [("--parameter", "model.layers.*"), ("--unit", "column"), ("--parameter", "a", "--unit", "column")]
)
def test_a_scan_takes_one_after_and_gets_every_option(run, monkeypatch, tmp_path, options):
    asked = []
    monkeypatch.setattr(pair_commands, "run_scan_command", lambda *a, **k: asked.append((a, k)))
    status, _, err = run("ks", "B", "A1", "A2", *options)
    assert (status, len(err.splitlines()), asked) == (2, 1, [])
    assert "compares one AFTER at a time, found 2" in err
    status, _, err = run(
        "ks", "B", "A1", *options, "--alpha", 0.1, "--out", tmp_path / "scan", "--device", "cpu",
        "--before-revision", "x", "--after-revision", "y",
    )  # fmt: skip
    assert (status, err) == (0, "")
    ((positional, named),) = asked
    assert positional == ("B", "A1")
    assert named == {
        "pattern": dict(zip(options[::2], options[1::2], strict=True)).get("--parameter"),
        "unit": "column" if "column" in options else "row",
        "alpha": 0.1,
        "out": tmp_path / "scan",
        "device": "cpu",
        "before_revision": "x",
        "after_revision": "y",
    }


def test_revisions_must_be_as_many_as_afters(run, tiny_llama_folder):
    status, _, err = run("ks", tiny_llama_folder, tiny_llama_folder, tiny_llama_folder, "--after-revision", "a")
    assert (status, "one revision for each of the 2 checkpoints" in err) == (2, True)
    status, _, err = run("ks", tiny_llama_folder, tiny_llama_folder, "--after-revision", "a")
    assert (status, "belongs to a hub id" in err) == (2, True)


def test_ks_and_ticket_name_the_tokens_that_exact_p_and_tau_judge_differently(run, make_file):
    width, alpha, between = 22, 0.05, 9
    assert compute_least_detectable_count(width, alpha) == between
    assert compute_least_detectable_count(width, alpha, "asymptotic") == between + 1
    before = make_file("before", width=width)
    after = make_file("after", {3: between, 5: width, **dict.fromkeys(range(10, 16), between)}, width=width)
    told = (
        f"At the significance level {alpha:g}, 7 tokens are judged differently by the exact p-value and by the paper's "
        "threshold on D, "
    )
    names = "<row 3> (id 3), <row 10> (id 10), <row 11> (id 11), <row 12> (id 12), <row 13> (id 13) and 2 more"
    for command in ("ks", "ticket"):
        status, out, _ = run(command, before, after, "--alpha", alpha)
        assert status == 0
        (note,) = [line for line in out.splitlines() if told in line]
        assert note.endswith(f"{names}, winning only by the exact p-value.")
    several = run("ks", before, after, after, "--alpha", alpha)[1]
    assert several.count(told) == 2
    corrected = run("ticket", before, after, "--alpha", alpha, "--correction", "bonferroni")[1]
    assert "threshold on D" not in corrected
    assert "judged differently" not in run("ks", before, before)[1]
    assert "judged differently" not in run("ticket", before, after, "--top-k", 2)[1]


@pytest.mark.parametrize(
    ("log10", "text"),
    [
        (0.0, "1"),
        (-1.0, "0.1"),
        (-4.5, "3.2e-5"),
        (-512.3, "5.0e-513"),
        (-40000.0, "1.0e-40000"),
        (-7.001, "1.0e-7"),
        (-6.02, "9.5e-7"),
    ],
)
def test_small_chances_are_printed_without_underflow(log10, text):
    assert format_power(log10) == text
