"""Where compiled code is kept, whoever asks for it."""

from concurrent.futures import ThreadPoolExecutor

import numba

from curate.dedup.compiled import cache_folder, compiled


def test_kernels_of_several_threads_are_kept_in_the_cache_and_not_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = numba.config.CACHE_DIR

    def decorate(_: int) -> None:
        @compiled
        def twice(value: int) -> int:
            return 2 * value

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decorate, range(2000)))
    assert list(tmp_path.iterdir()) == []
    assert cache_folder() is not None
    assert before == numba.config.CACHE_DIR
