"""Packages that are large: only where they are asked for."""

import os
import tempfile


def numba():
    import numba

    @numba.njit(parallel=True)
    def total(count):
        out = 0
        for number in numba.prange(count):
            out += number
        return out

    assert total(1000) == 499_500


def sklearn():
    from joblib import Parallel, delayed
    from joblib.externals.loky import get_reusable_executor
    from sklearn.linear_model import LinearRegression

    assert abs(LinearRegression().fit([[0], [1]], [1, 3]).predict([[2]])[0] - 5) < 1e-9
    assert Parallel(n_jobs=2, backend="loky")(delayed(pow)(n, 2) for n in range(4)) == [0, 1, 4, 9]
    get_reusable_executor().shutdown(wait=True)


def polars():
    import polars

    table = polars.DataFrame({"site": ["a", "b", "a"], "hits": [1, 2, 3]})
    assert table.group_by("site").sum().sort("site")["hits"].to_list() == [4, 2]


def pyarrow():
    import pandas

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "table.parquet")
        pandas.DataFrame({"a": [1, 2]}).to_parquet(path)
        assert pandas.read_parquet(path).a.tolist() == [1, 2]


def cv2():
    import cv2
    import numpy

    image = numpy.zeros((50, 50, 3), numpy.uint8)
    cv2.circle(image, (25, 25), 10, (255, 255, 255), -1)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "circle.png")
        assert cv2.imwrite(path, image)
        assert cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2GRAY).max() == 255


def chromium():
    """In the sandbox that it makes for its own processes."""
    import subprocess

    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "page.pdf")
        done = subprocess.run(
            [
                "chromium",
                "--headless",
                "--disable-gpu",
                f"--user-data-dir={directory}",
                f"--print-to-pdf={path}",
                "data:text/html,<p>text",
            ],
            env={**os.environ, "HOME": directory},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert os.path.exists(path), done
        with open(path, "rb") as file:
            assert file.read(5) == b"%PDF-"
