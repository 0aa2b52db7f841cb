from unit.scheduler.driver import spec

from ingle.scheduler import autoscale
from ingle.scheduler.state import Function


def test_one_container_per_input_while_nothing_is_known():
    assert autoscale.containers_for(20, None, 0.2) == 20


def test_a_thousand_no_ops_want_few_containers_and_a_thousand_minutes_want_a_thousand():
    assert autoscale.containers_for(1000, 0.00002, 0.2) == 1
    assert autoscale.containers_for(1000, 0.001, 0.2) == 6
    assert autoscale.containers_for(1000, 60.0, 0.2) == 1000


def test_a_batch_grows_with_trust_and_shrinks_with_the_length_of_runs():
    assert autoscale.batch(None, 64) == 1
    assert autoscale.batch(0.0001, 0) == 1
    assert autoscale.batch(0.0001, 8) == 8
    assert autoscale.batch(0.0001, 64) == 64
    assert autoscale.batch(0.004, 64) == 6
    assert autoscale.batch(0.006, 64) == 1


def test_averages_move_and_are_bounded():
    assert autoscale.learn_run(None, 3.0, 1) == 3.0
    assert abs(autoscale.learn_run(0.0, 1.0, 1) - 0.2) < 1e-9
    assert autoscale.learn_run(0.0, 1.0, 100) > 0.99
    assert autoscale.learn_start(0.2, 600.0) <= 0.2 + 0.2 * autoscale.START_S_MAX
    assert autoscale.learn_start(0.1, 0.0) == 0.1


def test_the_target_keeps_the_minimum_and_adds_the_buffer_only_while_active():
    function = Function(spec("fu-1", min_containers=2, buffer_containers=3), True)
    assert autoscale.target(function) == 2
    function.busy["co-1"] = None
    assert autoscale.target(function) == 4


def test_missing_is_bounded_by_max_containers_and_nothing_starts_during_a_backoff():
    function = Function(spec("fu-1", min_containers=5, max_containers=3), True)
    assert autoscale.missing(function, 0.0) == 3
    function.backoff_until_s = 10.0
    assert autoscale.missing(function, 9.0) == 0
    assert autoscale.missing(function, 10.0) == 3


def test_generators_and_single_use_containers_hold_one_input():
    for how in ({"single_use": True}, {"is_generator": True}):
        function = Function(spec("fu-1", **how), True)
        function.run_s, function.streak = 0.0001, 64
        assert autoscale.holds_at_most(function) == 1
