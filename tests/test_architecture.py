"""The house rules: who may import whom, what an import may load, and that these checks can fail."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From left to right; a room may import what stands further right, or beside it in the same group only itself.
CORE_ORDER = [
    {"__main__"},
    {"commands"},
    {"demo", "benchmarks"},
    {"studies"},
    {"runs"},
    {"tuning", "evaluation", "certification"},
    {"scans"},
    {"tickets"},
    {"ks", "neighbours"},
    {"checkpoints", "corpora"},
    {"jobs"},
    {"records", "progress", "csv_file"},
    {"errors"},
]
DASHBOARD_ORDER = [
    {"app", "benchmark"},
    {"views"},
    {"report"},
    {"controls"},
    {"state"},
    {"loaders"},
    {"palette"},
    {"wording"},
]
LIGHT_IMPORT = (
    "import kslottery_core, kslottery_core.runs, kslottery_core.commands.run_commands, kslottery_core.__main__"
)


def list_modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def get_room(path: Path, package: str) -> str:
    relative = path.relative_to(ROOT / package)
    return relative.parts[0].removesuffix(".py")


def list_imports(source: str) -> list[str]:
    """Dotted names that a module imports anywhere, inside functions and type-checking blocks too."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def find_upward_imports(room: str, source: str, package: str, order: list[set[str]]) -> list[str]:
    level = {name: position for position, names in enumerate(order) for name in names}
    upward = []
    for name in list_imports(source):
        parts = name.split(".")
        if parts[0] != package or len(parts) < 2 or parts[1] not in level:
            continue
        target = parts[1]
        if target != room and level[target] <= level[room]:
            upward.append(f"{room} imports {target}")
    return upward


@pytest.mark.parametrize(("package", "order"), [("kslottery_core", CORE_ORDER), ("dashboard", DASHBOARD_ORDER)])
def test_nothing_imports_to_its_left(package, order):
    known = set().union(*order)
    problems = []
    for path in list_modules(package):
        room = get_room(path, package)
        if room == "__init__":
            continue
        assert room in known, f"{path} belongs to no known room"
        problems += find_upward_imports(room, path.read_text(encoding="utf-8"), package, order)
    assert problems == []


def test_the_import_check_can_fail():
    source = "def f():\n    from kslottery_core.runs import RunStore"
    assert find_upward_imports("ks", source, "kslottery_core", CORE_ORDER) == ["ks imports runs"] * 2
    assert find_upward_imports("runs", "import kslottery_core.ks", "kslottery_core", CORE_ORDER) == []


def find_circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or by way of others (Tarjan, SIAM J. Comput. 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    open_modules: list[str] = []
    circles = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        open_modules.append(module)
        for other in imports[module]:
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in open_modules:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            at = open_modules.index(module)
            group = open_modules[at:]
            del open_modules[at:]
            if len(group) > 1:
                circles.append(sorted(group))

    for module in imports:
        if module not in order:
            visit(module)
    return circles


def test_no_modules_of_the_core_import_each_other():
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in list_modules("kslottery_core")}
    paths = {name.removesuffix(".__init__"): path for name, path in paths.items()}
    imports = {}
    for name, path in paths.items():
        found = {other for other in list_imports(path.read_text(encoding="utf-8")) if other in paths and other != name}
        # A package's own front is imported with every one of its modules, which is no dependence on what it hands on.
        fronts = {other for other in found if any(each.startswith(f"{other}.") for each in (name, *found))}
        imports[name] = found - fronts
    assert find_circles(imports) == []


def test_the_circle_check_can_fail():
    assert find_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


def test_the_core_never_imports_the_dashboard_or_its_libraries():
    for path in list_modules("kslottery_core"):
        roots = {name.split(".")[0] for name in list_imports(path.read_text(encoding="utf-8"))}
        assert not roots & {"dashboard", "streamlit", "plotly"}, path


def test_figures_tables_and_blocks_compute_without_streamlit():
    for path in list_modules("dashboard"):
        pure = path.stem in ("figures", "tables", "rows", "report_block") or path.stem.endswith(("_figure", "_figures"))
        if pure or get_room(path, "dashboard") in ("report", "palette", "wording"):
            assert "streamlit" not in {n.split(".")[0] for n in list_imports(path.read_text(encoding="utf-8"))}, path


def test_only_the_loaders_and_a_pages_loading_files_cache():
    for path in list_modules("dashboard"):
        if get_room(path, "dashboard") != "loaders" and path.stem != "loading" and not path.stem.endswith("_loading"):
            assert "st.cache" not in path.read_text(encoding="utf-8"), path


def test_every_page_is_a_package_that_knows_no_other_page():
    pages = {path.parent.name for path in (ROOT / "dashboard" / "views").glob("*/page.py")}
    assert len(pages) == 10
    for path in list_modules("dashboard"):
        parts = path.relative_to(ROOT / "dashboard").parts
        if parts[0] != "views" or parts == ("views", "report", "blocks.py"):  # there the pages hand over their blocks
            continue
        for name in list_imports(path.read_text(encoding="utf-8")):
            imported = name.split(".")
            if imported[:2] == ["dashboard", "views"] and len(imported) > 2:
                assert imported[2] == parts[1], f"{path} imports {name}"


def find_loaded(statement: str, names: set[str]) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sorted({names!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_the_core_loads_nothing_heavy():
    heavy = {"torch", "transformers", "streamlit", "plotly", "pandas", "scipy", "sacrebleu", "peft"}
    assert find_loaded("import kslottery_core", heavy | {"numpy"}) == set()
    assert find_loaded(LIGHT_IMPORT, heavy) == set()


def test_the_loading_check_can_fail():
    assert find_loaded("import plotly", {"plotly", "torch"}) == {"plotly"}


def test_the_core_works_without_streamlit_plotly_and_the_extras():
    code = (
        "import sys\n"
        "for name in ('streamlit', 'plotly', 'submitit', 'datasets', 'pydantic', 'gguf'): sys.modules[name] = None\n"
        "import torch\n"
        "from kslottery_core import compute_ks, select_ticket\n"
        "import kslottery_core.tuning, kslottery_core.evaluation, kslottery_core.runs, kslottery_core.checkpoints\n"
        "result = compute_ks(torch.zeros(3, 64), torch.tensor([[0.0], [1.0], [0.0]]).repeat(1, 64), 'cpu')\n"
        "print(select_ticket(result, 0.05).token_ids)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "(1,)"


def test_public_names_of_the_package_all_exist():
    import kslottery_core

    for name in kslottery_core.__all__:
        assert getattr(kslottery_core, name).__doc__
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = kslottery_core.nothing_like_this


@pytest.mark.parametrize("package", ["kslottery_core", "dashboard", "tests"])
def test_no_room_is_called_after_nothing_and_files_stay_readable(package):
    vague = {"utils", "helpers", "common", "misc"}
    for path in list_modules(package):
        assert not vague & set(path.relative_to(ROOT).with_suffix("").parts), path
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert package == "tests" or lines <= 500, f"{path} has {lines} lines"
