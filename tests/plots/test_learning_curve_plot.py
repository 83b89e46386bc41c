import io

import matplotlib.image
import pytest

from actionrec.evaluation.intervals import Interval
from actionrec.evaluation.significance_tests import PairedTest
from actionrec.experiments.learning_curve import PARTS, Curve, CurvePoint
from actionrec.plots.learning_curve import learning_curve


def curve(seeds):
    points = tuple(
        CurvePoint(
            part, 10 * place, 5 * place, place / 5, tuple(place / 5 for _ in seeds), Interval(place / 5 - 0.1, place / 5 + 0.1)
        )
        for place, part in enumerate(PARTS, start=1)
    )
    return Curve("gru", seeds, 120, 40, 0.25, points, PairedTest(0.2, Interval(0.1, 0.3), 0.01, 0.1))


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("phrase", ["mine, group split", "da$ta$_{\n動作 " + 15 * "long name "])
def test_the_picture_is_the_same_on_every_run(seeds, phrase):
    picture = learning_curve(curve(seeds), phrase)
    assert picture == learning_curve(curve(seeds), phrase)
    height, width, _ = matplotlib.image.imread(io.BytesIO(picture)).shape
    assert (width, height) == (960, 600)
