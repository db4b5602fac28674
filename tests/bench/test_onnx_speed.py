"""The times of ONNX files are of calls that nothing interrupted."""

import numpy as np

from benchmarks.onnx_speed import LEAST_CALLS, _round, typical


def test_a_call_that_the_machine_stopped_is_no_part_of_the_time():
    assert typical([0.031, 5.0]) == 0.031
    assert typical([0.033, 0.031, 5.0, 0.032, 7.0]) == 0.031


class _Session:
    def __init__(self):
        self.calls = 0

    def get_inputs(self):
        return [self]

    name = "images"

    def run(self, _, feeds):
        self.calls += 1
        return [feeds["images"]]


def test_a_round_has_enough_calls_however_short_it_is():
    sessions, feeds = {}, {}
    for side in ("ours", "torch"):
        sessions[side], feeds[side] = _Session(), np.zeros(1)
    _, calls = _round(sessions, feeds, seconds=0)
    assert calls == LEAST_CALLS == sessions["ours"].calls == sessions["torch"].calls
