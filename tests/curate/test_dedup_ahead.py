"""What another process compiles is what this one would have compiled."""

import os
import subprocess
import sys

SEARCH = """
import gc
import polars as pl
from curate.dedup import ahead, find_duplicates
text = " ".join(f"{first}ol{second}an of" for first in "bcdfghjklm" for second in "aeiou")
begun = []
start = ahead.subprocess.Popen
ahead.subprocess.Popen = lambda *given, **more: begun.append(start(*given, **more)) or begun[-1]
found = find_duplicates(pl.Series([text, text.replace("golian of ", "")]))
print(found.kind.to_list(), [process.returncode for process in begun], gc.isenabled())
"""


def test_the_first_search_takes_from_the_cache_what_another_process_compiled_for_it(tmp_path):
    said = [
        subprocess.run(
            [sys.executable, "-c", SEARCH],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
        for _ in range(2)
    ]
    assert said == ["[None, 'near'] [0] True\n", "[None, 'near'] [] True\n"]
    assert len(list(tmp_path.glob("**/verify.judge-*.nbc"))) == 1
