from unit.scheduler.driver import Driver, of, sent

from ingle.scheduler import commands, events


def test_twenty_unknown_inputs_start_twenty_containers_at_once_and_each_gets_one():
    told = Driver(cpu_milli=4000)
    told.add()
    starts = of(told.ask(20), commands.StartContainer)
    assert len(starts) == 20
    given = sent(told.ready(*(start.container for start in starts)))
    assert len(given) == 20 and all(len(inputs) == 1 for inputs in given.values())


def test_what_does_not_fit_waits_for_cpu():
    told = Driver()
    told.add()
    out = told.ask(20)
    assert len(of(out, commands.StartContainer)) == 16
    assert out[-1] == commands.Explain("fu-1", "waiting for cpu: needs 0.125 cores, 0 free")


def test_a_thousand_no_ops_go_to_the_one_warm_container_in_batches():
    told = Driver()
    told.add()
    (container,) = told.short()
    out = told.ask(1000)
    assert not of(out, commands.StartContainer)
    inputs = sent(out)[container]
    assert inputs == [f"fc-1:{i}" for i in range(64)]
    assert not sent(told.end(container, *inputs[:20], run_s=0.0001))
    out = told.end(container, *inputs[20:40], run_s=0.0001)  # below half: filled up
    assert len(sent(out)[container]) == 40
    assert of(out, commands.EndInputs) == [commands.EndInputs(inputs[20:40], "answered")]


def test_long_runs_never_wait_behind_one_another_while_a_container_is_idle():
    told = Driver()
    told.add()
    containers = told.warm(3)
    out = told.ask(5)
    assert sorted(sent(out)) == sorted(containers) and all(len(inputs) == 1 for inputs in sent(out).values())
    assert len(of(out, commands.StartContainer)) == 2


def test_a_batch_that_makes_no_progress_is_taken_back():
    told = Driver()
    told.add()
    (container,) = told.short()
    told.ask(10)
    out = told.pass_s(0.3)
    assert of(out, commands.RecallInputs) == [commands.RecallInputs(container, "no-0")]
    out = told.tell(events.InputsRecalled(container, [f"fc-1:{i}" for i in range(1, 10)]))
    assert of(out, commands.StartContainer)  # they turned out to be long: others are needed
    assert told.cluster.functions["fu-1"].run_s > 0.005
    assert not of(told.pass_s(5.0), commands.RecallInputs)


def test_an_unanswered_recall_is_said_again():
    told = Driver()
    told.add()
    told.short()
    told.ask(10)
    assert len(of(told.pass_s(2.5), commands.RecallInputs)) == 2


def test_news_that_is_on_its_way_is_waited_for_before_a_container_is_blamed():
    told = Driver()
    told.add()
    (container,) = told.short()
    told.ask(10)
    told.tell(events.Tick(told.cluster.now_s + 1.0))  # the server was away for a second
    assert not of(told.said, commands.RecallInputs)
    told.end(container, *[f"fc-1:{i}" for i in range(10)], run_s=0.0001)
    assert not of(told.pass_s(0.5), commands.RecallInputs)


def test_a_short_input_does_not_wait_behind_a_single_long_one():
    told = Driver()
    told.add()
    told.short(count=2)
    told.ask(1)
    told.pass_s(0.2)
    assert sent(told.ask(1, call="fc-2"))


def test_a_queue_that_stands_still_starts_as_many_as_there_are_inputs():
    told = Driver()
    told.add()
    (container,) = told.warm(run_s=0.01)
    out = told.ask(12)
    assert len(of(out, commands.StartContainer)) == 0
    out = told.pass_s(0.6)
    assert len(of(out, commands.StartContainer)) == 11
    assert list(sent(told.said)) == [container]


def test_idle_containers_stop_after_their_window_the_one_idle_longest_first():
    told = Driver()
    told.add(scaledown_window_s=10.0)
    first, second = told.warm(2)
    for i in range(20):  # the one that was used last is used again
        (container,) = sent(told.ask(1, call=f"fc-{i + 10}"))
        assert container == second
        told.pass_s(0.5)
        told.end(container, f"fc-{i + 10}:0")
    assert [c.container for c in of(told.pass_s(0.5), commands.StopContainer)] == [first]
    told.tell(events.ContainerExited(first))
    assert [c.container for c in of(told.pass_s(10.0), commands.StopContainer)] == [second]


def test_a_buffer_is_kept_only_while_the_function_is_active():
    told = Driver()
    told.add(buffer_containers=2, scaledown_window_s=3.0)
    starts = of(told.ask(1), commands.StartContainer)
    assert len(starts) == 3
    told.ready(*(start.container for start in starts))
    assert not of(told.pass_s(20.0), commands.StopContainer)
    (container,) = sent(told.said)
    told.end(container, "fc-1:0")
    assert len(of(told.pass_s(7.0), commands.StopContainer)) == 3


def test_max_containers_is_honoured_even_by_those_that_are_being_stopped():
    told = Driver()
    told.add(max_containers=2)
    first, _ = (start.container for start in of(told.ask(9), commands.StartContainer))
    out = told.tell(events.ContainerStopAsked(first))
    assert not of(out, commands.StartContainer)
    assert len(of(told.tell(events.ContainerExited(first)), commands.StartContainer)) == 1
