"""What make bench-compare calls a regression."""
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "bench" / "compare.py"
SPEC = importlib.util.spec_from_file_location("bench_compare", PATH)
compare = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(compare)


def result(name, ratio, better="lower"):
    return {"name": name, "value": 1, "ratio": ratio, "better": better}


def worse(name, before, after, better="lower"):
    lines, count = compare.regressions([result(name, before, better)], [result(name, after, better)])
    assert count == 1
    return [line.split(":")[0] for line in lines]


@pytest.mark.parametrize("name, percent", [("spawn/1/commit", 10), ("step_many/observed", 15), ("memory/growth", 20),
                                           ("size/new", 20)])
def test_each_kind_has_its_allowance(name, percent):
    assert worse(name, 2.0, 2.0 * (1 + (percent - 1) / 100)) == []
    assert worse(name, 2.0, 2.0 * (1 + (percent + 1) / 100)) == [name]


def test_higher_may_be_better():
    assert worse("step_single/1", 0.8, 0.7, "higher") == []
    assert worse("step_single/1", 0.8, 0.6, "higher") == ["step_single/1"]
    assert worse("step_single/1", 0.8, 8.0, "higher") == []


def test_better_is_no_regression():
    assert worse("spawn/1", 2.0, 0.2) == []


def test_the_value_alone_does_not_count():
    old, new = result("spawn/1", 1.0), {**result("spawn/1", 1.0), "value": 100}
    assert compare.regressions([old], [new]) == ([], 1)
    assert compare.regressions([result("x", None)], [result("x", None)]) == ([], 0)


def run(folder, old, new):
    for name, results in (("old", old), ("new", new)):
        (folder / f"{name}.json").write_text(json.dumps(results))
    return subprocess.run([sys.executable, PATH, folder / "old.json", folder / "new.json"], capture_output=True, text=True)


def test_exit_status_and_names(tmp_path):
    good = run(tmp_path, [result("a", 1.0), result("b", 1.0)], [result("a", 1.1)])
    assert good.returncode == 0 and "b: not measured now" in good.stdout
    bad = run(tmp_path, [result("a", 1.0), result("b", 1.0)], [result("a", 1.2), result("b", 1.3)])
    assert bad.returncode == 1
    assert "a: 1 of the peer before, 1.2 now" in bad.stdout and "\nb: " in bad.stdout


def test_nothing_to_compare_is_no_success(tmp_path):
    assert run(tmp_path, [result("a", 1.0)], [result("b", 1.0)]).returncode != 0
    quick = run(tmp_path, [result("a", 1.0)], [{"name": "machine", "quick": True}, result("a", 1.0)])
    assert quick.returncode != 0 and "quick" in quick.stderr


@pytest.mark.parametrize("missing", ["nowhere.json", "HEAD:nowhere.json"])
def test_a_result_that_is_not_there_is_named(missing):
    tried = subprocess.run([sys.executable, str(PATH), missing], capture_output=True, text=True, check=False)
    assert tried.returncode != 0 and missing in tried.stderr and "Traceback" not in tried.stderr
