import json
import shutil
import xml.etree.ElementTree

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Single, UserError, reference
from model import plots
from model.recipe_file import RecipeFile
from model.recipes import Recipe
from model.reproduce import Runner
from tests.networks import random_network, random_spike_times
from tests.small_data import stripes

NAMES = ["learning", "raster", "steps", "thresholds", "operating-points"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder, as the run left it."""
    folder = tmp_path_factory.mktemp("run")
    recipe = Recipe(hidden=(12,), epochs=3, batch_size=16, learning_rate=0.01, validation=0.25)
    Runner("the command", say=lambda line: None).run(RecipeFile("own", "stripes", (0,), recipe), stripes(), folder)
    return folder


def change(folder, **changes):
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def texts(path):
    return [element.text for element in xml.etree.ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")]


def test_every_run_is_drawn(trained):
    assert {path.stem for path in trained.glob("*.svg")} == set(NAMES)


def test_drawn_again(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    for path in folder.glob("*.svg"):
        path.unlink()
    assert plots.write(folder) == [folder / f"{name}.svg" for name in NAMES]
    for name in NAMES:
        assert (folder / f"{name}.svg").read_bytes() == (trained / f"{name}.svg").read_bytes()
    plots.write(folder, 7)
    assert [name for name in NAMES if (folder / f"{name}.svg").read_bytes() != (trained / f"{name}.svg").read_bytes()] == ["raster"]
    assert any(text.startswith("frame 7: decided row ") for text in texts(folder / "raster.svg"))


def test_unfinished_run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    change(tmp_path / "run", finished=False)
    assert plots.write(tmp_path / "run") == [tmp_path / "run" / "learning.svg"]


def test_metrics_without_epochs(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    change(tmp_path / "run", epochs=[])
    assert [path.stem for path in plots.write(tmp_path / "run")] == NAMES[1:]


@pytest.mark.parametrize("frame", [-1, 100])
def test_no_such_frame(trained, frame):
    with pytest.raises(UserError) as caught:
        plots.write(trained, frame)
    assert str(caught.value) == f"frame must be from 0 to 99, the frames of the check set, not {frame}"


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError):
        plots.write(tmp_path)


def data(panel):
    return [np.asarray(line.get_ydata()).tolist() for line in panel.lines]


def test_learning_curves(trained):
    content = json.loads((trained / "metrics.json").read_text())
    loss, strict, silent, taken = plots.learning(content).axes
    assert data(loss)[0] == [record["loss"] for record in content["epochs"]]
    for panel, name in ((strict, "strict"), (silent, "silent_share"), (taken, "steps_mean")):
        assert data(panel)[:2] == [
            [record[name] for record in content["epochs"]],
            [record["validation"][name] for record in content["epochs"]],
        ]
        assert panel.lines[-1].get_xdata()[0] == content["best_epoch"]


def test_operating_points():
    points = [
        {"shift": shift, "strict": 90.0 + shift, "silent_share": 3.0, "steps_mean": 2.5, "hidden_spikes_by_decision_mean": 41.0}
        for shift in (-1, 0, 1)
    ]
    panels = plots.operating_points(points, 1).axes
    assert [panel.get_title() for panel in panels] == [
        "strict accuracy, %: 91.00 at 1",
        "silent frames, %: 3.00 at 1",
        "steps taken, mean: 2.50 at 1",
        "hidden spikes by the decision, mean: 41.00 at 1",
    ]
    assert data(panels[0])[0] == [89.0, 90.0, 91.0]


@pytest.mark.parametrize(("shape", "steps"), [((36, 4), 8), ((36, 12, 4), 8), ((36, 50, 41, 30), 128), ((36, 12, 4), 1)])
@pytest.mark.parametrize("image_shape", [None, [6, 6]])
def test_raster_has_every_spike(shape, steps, image_shape):
    rng = np.random.default_rng(3)
    network, times = random_network(rng, shape, steps), random_spike_times(rng, 20, 36, steps)
    result = reference.run(network, times)
    for frame in (0, int(result.decisions.silent.argmax())):
        fired = [times[frame], *(layer[frame] for layer in result.spike_times)]
        figure = plots.raster(fired, result.decisions, frame, network, image_shape)
        panels = figure.axes[2 if image_shape else 0 :]  # the image has a scale
        for panel, neurons in zip(panels, fired, strict=True):
            marks = [(path.vertices[:, 0].mean(), path.vertices[0, 1]) for lines in panel.collections for path in lines.get_paths()]
            there = np.flatnonzero(neurons < steps)
            assert sorted(marks) == sorted(zip(neurons[there].astype(float), there.astype(float), strict=True))
        assert panels[-1].lines[-1].get_xydata().tolist() == [[result.decisions.step[frame], result.decisions.class_index[frame]]]
        assert ("silent" in figure.get_suptitle()) == result.decisions.silent[frame]


def test_thresholds():
    hidden = Layer(Dense(np.ones((60, 9), np.int8)), Single(np.array([10] * 3 + [-9] + [2] * 56, np.int32)))
    last = Layer(Dense(np.ones((3, 60), np.int8)), Single(np.array([5, -2, 0], np.int32)))
    figure = plots.thresholds(Network((hidden, last), 8, Encoder("latency"), ("a", "b", "long name")))
    left, right = figure.axes
    heights = {round(bar.get_center()[0]): bar.get_height() for bar in left.patches if bar.get_height()}
    assert heights == {-9: 1, 2: 56, 10: 3}
    assert left.get_legend().get_title().get_text() == "3 can never fire"
    assert [bar.get_height() for bar in right.patches] == [5, -2, 0]


@pytest.mark.parametrize(("low", "high"), [(0, 0), (-3, 36), (-3, 37), (0, 1000)])
def test_histogram_counts_every_neuron(low, high):
    theta = np.linspace(low, high, 41).astype(np.int32)
    network = Network((Layer(Dense(np.ones((41, 1000), np.int8)), Single(theta)),), 8)
    panel = plots.thresholds(network).axes[0]
    assert sum(bar.get_height() for bar in panel.patches) == 41
    assert len(panel.patches) <= plots.BINS
