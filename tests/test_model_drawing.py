import xml.etree.ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure

from export.reference import Decisions
from model import drawing


def test_same_file_every_time(tmp_path):
    def draw():
        figure = Figure()
        drawing.raster_frame(figure.subplots(), 10, 8, 3)
        return figure

    files = [drawing.save(draw, tmp_path / name) for name in ("a.svg", "b.svg")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert xml.etree.ElementTree.parse(files[0]).getroot().tag.endswith("svg")


def test_nothing_is_half_drawn(tmp_path):
    with pytest.raises(ZeroDivisionError):
        drawing.save(lambda: 1 / 0, tmp_path / "a.svg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("silent", [[False] * 5, [False, False, False, False, True]])
def test_steps(silent):
    step, silent = np.array([0, 2, 2, 1, 3]), np.array(silent)
    panel = Figure().subplots()
    drawing.steps_panel(panel, Decisions(step, step, step, silent), 4)
    bars = [[bar.get_height() for bar in container] for container in panel.containers]
    assert bars == ([[1, 1, 2, 0], [0, 0, 0, 1]] if silent.any() else [[1, 1, 2, 1]])
    assert [bar.get_center()[0] for bar in panel.containers[0]] == [1, 2, 3, 4]


@pytest.mark.parametrize(("shape", "images"), [((2, 3), 1), (None, 0), ((6,), 0), ((2, 2), 0)])
def test_input(shape, images):
    panel = Figure().subplots()
    drawing.input_panel(panel, np.array([0, 1, 2, 4, 4, 3]), 4, shape)
    assert len(panel.images) == images
    if images:
        assert np.isnan(panel.images[0].get_array().filled(np.nan)).sum() == 2  # never
    else:
        assert panel.lines[0].get_xydata().tolist() == [[0, 0], [1, 1], [2, 2], [3, 5]]


@pytest.mark.parametrize(("classes", "named"), [(20, True), (21, False)])
def test_names(classes, named):
    panel = Figure().subplots()
    drawing.name_outputs(panel, [f"class {index}" for index in range(classes)])
    assert any(text.get_text() == "class 3" for text in panel.get_yticklabels()) == named
