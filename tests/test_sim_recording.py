"""What goes to the wrapper and what comes back, file by file."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from export import Encoder
from sim import stimuli
from sim.frames import Words
from sim.ports import Field, Payload, Ports
from sim.recording import Transcript
from sim.stimuli import Pace
from sim.wrapper import design

WORD = {"time": Field(0, 1), "last_of_step": Field(1, 1), "last_of_frame": Field(2, 1)}
MONITOR = {"time": Field(0, 2), "index": Field(2, 1), "bits": Field(3, 2), "last_of_frame": Field(5, 1), "frame": Field(6, 2)}
RESULT = Payload(3, {"class_index": Field(0, 2), "error": Field(2, 1)})
CONNECTION = SimpleNamespace(synapses=np.full(65_536, 65_536))  # a matrix that no machine need hold
LARGE = SimpleNamespace(inputs=65_536, layers=(SimpleNamespace(connection=CONNECTION),), steps=1, encoder=Encoder())
PORTS = Ports("top", 2, ("i_0", "i_1"), Payload(3, WORD), True, RESULT, (Payload(8, MONITOR),))


def test_stimuli_by_hand(tmp_path):
    words = Words(np.array([[7], [8], [9]], np.uint32), np.array([2, 1]))
    stimuli.write(tmp_path, [(words, Pace()), (words, Pace(cut=5, gaps=6, stalls=7, hesitates=True, seed=1 << 31))], PORTS)
    units = {path.name: np.fromfile(path, ">u4").tolist() for path in tmp_path.iterdir()}
    paces = [0, 0, 0, 1, 0, 1, 0, 0, 5, 6, 7, 1, 1, 1, 0, 1 << 31]
    assert units == {"runs.bin": [2, *paces], "i_0.bin": [1, 2, 7, 8] * 2, "i_1.bin": [1, 1, 9] * 2}


FAR = (1 << 40) + 5
"""A cycle that does not fit into 32 bits."""


@pytest.fixture
def transcript(tmp_path):
    """Two runs: of one frame, and of three, of which the second was not begun and the last not ended."""

    def write(name, *records):
        (tmp_path / f"full.{name}.bin").write_bytes(b"".join(np.array(record, "<u4").tobytes() for record in records))

    def at(cycle):
        return cycle % (1 << 32), cycle >> 32

    def word(frame, time, index, bits, ends):
        return time | index << 2 | bits << 3 | ends << 5 | frame % 4 << 6

    write("results", (*at(9), 2), (*at(FAR), 0b101))
    write("i_0", (*at(1), 0, 0), (*at(FAR - 3), 0, 0), (*at(FAR - 2), 1, 1 << 31))
    write("i_1")
    shown = ((0, 1, 0, 0b10, 1), (0, 0, 1, 0b01, 1), (2, 2, 0, 0b11, 0))
    write("monitor_0", *((*at(5), word(*each)) for each in shown))
    counts = ((0, 1, 1, 0, 1), (2, 2, 3, 0, 3))  # held, results, i_0, i_1, monitor_0
    (tmp_path / "full.runs.bin").write_bytes(np.array(counts, "<i8").tobytes())
    (tmp_path / "full.json").write_text(json.dumps({"stuck": True, "seconds": 2.5}))
    return Transcript.read(tmp_path, "full", PORTS, [1, 3, 8])  # of a third run, which was not played


def test_transcript(transcript):
    assert transcript.frames.tolist() == [0, 1, 4]
    assert transcript.held.tolist() == [0, 2]
    assert transcript.results.run.tolist() == [0, 1]
    assert transcript.results.cycle.tolist() == [9, FAR]
    assert transcript.frame_of_words(0).tolist() == [0, 1, 3]
    assert [array.tolist() for array in transcript.taken(0)] == [[0, 1, 3], [0, 0, 0], [False, False, True]]
    assert [len(array) for array in transcript.taken(1)] == [0, 0, 0]


def test_recording(transcript):
    recording = transcript.recording
    assert {name: values.tolist() for name, values in recording.results.items()} == {"class_index": [2, 1], "error": [0, 1]}
    assert recording.starts.tolist() == [1, FAR - 3, -1, FAR - 2]
    assert (recording.received, recording.cycles, recording.stuck, recording.seconds) == (2, FAR - 1, True, 2.5)
    assert len(recording.layers[0]) == 4
    assert recording.layers[0].begun.tolist() == [0, 1, 3]
    assert recording.layers[0].ended == 2


def test_words_of_frames_that_were_not_sent(transcript):
    """Their numbers are beyond those of all runs."""
    transcript.monitors[0].payload[0] |= 3 << 6
    assert transcript.frame_of_words(0).tolist() == [4 + 3, 1, 3]


def test_numbers_that_grow_with_the_sizes_have_64_bits():
    synapses = 65_536 * 65_536
    assert f"quiet == 64'd{10_000 + 4 * synapses}" in design("", PORTS, LARGE).wrapper()
