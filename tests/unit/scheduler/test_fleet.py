from unit.scheduler.driver import Driver, ended, of, sent

from ingle.scheduler import commands, events


def failed(told: Driver, container: str, **how) -> list[commands.Command]:
    return told.tell(events.ContainerExited(container, start_error="ImportError", **how))


def test_an_import_error_ends_all_that_wait_in_an_ephemeral_app_and_those_that_come_soon_after():
    told = Driver()
    told.add()
    starts = told.ask(3)
    out = failed(told, starts[0].container, user_error=True)
    assert out == [commands.EndInputs(["fc-1:0", "fc-1:1", "fc-1:2"], "start_failed", "ImportError")]
    assert ended(told.ask(1, call="fc-2")) == {"fc-2:0": "start_failed"}
    told.pass_s(1.1)
    for start in starts[1:]:  # old news
        failed(told, start.container, user_error=True)
    assert of(told.ask(1, call="fc-3"), commands.StartContainer)


def test_a_failure_of_ours_is_tried_three_times_with_growing_pauses():
    told = Driver()
    told.add()
    (start,) = told.ask()
    for pause_s in (1.0, 2.0):
        assert not ended(failed(told, start.container))
        assert not of(told.pass_s(pause_s - 0.2), commands.StartContainer)
        (start,) = of(told.pass_s(0.3), commands.StartContainer)
    assert ended(failed(told, start.container)) == {"fc-1:0": "start_failed"}


def test_inputs_of_a_detached_app_wait_for_the_next_start():
    told = Driver()
    told.add(fail_fast=False)
    (start,) = told.ask()
    out = failed(told, start.container)
    assert out == [commands.Explain("fu-1", "its containers fail to start; the next start is in 1 s")]
    (start,) = of(told.pass_s(1.1), commands.StartContainer)
    out = told.ready(start.container)
    assert commands.Explain("fu-1", "") in out and sent(out)
    assert told.cluster.functions["fu-1"].start_failures == 0


def test_inputs_of_a_detached_app_do_not_wait_for_code_that_never_changes():
    told = Driver()
    told.add(fail_fast=False)
    (start,) = told.ask()
    assert ended(failed(told, start.container, user_error=True)) == {"fc-1:0": "start_failed"}


def test_containers_that_were_started_together_fail_as_one():
    told = Driver()
    told.add(fail_fast=False)
    for start in told.ask(10):
        failed(told, start.container)
    assert told.cluster.functions["fu-1"].start_failures == 1


def test_a_container_that_dies_as_soon_as_it_is_ready_is_backed_off_too():
    told = Driver()
    told.add(min_containers=1)
    for _ in range(3):
        (container,) = told.cluster.functions["fu-1"].containers
        told.ready(container)
        assert not of(told.tell(events.ContainerExited(container)), commands.StartContainer)
        assert of(told.pass_s(1.1), commands.StartContainer)


def test_min_containers_are_started_again_when_they_exit():
    told = Driver()
    assert len(of(told.add(min_containers=2), commands.StartContainer)) == 2
    for container in list(told.cluster.containers):
        told.ready(container)
    told.ask()
    (container,) = sent(told.said)
    told.end(container, "fc-1:0")
    assert len(of(told.tell(events.ContainerExited(container)), commands.StartContainer)) == 1
    told.pass_s(120.0)
    assert told.cluster.functions["fu-1"].alive() == 2


def test_a_single_use_container_is_stopped_after_its_input():
    told = Driver()
    told.add(single_use=True)
    first, second = (start.container for start in told.ask(2))
    told.ready(first, second)
    out = told.end(first, "fc-1:0")
    assert [command.container for command in of(out, commands.StopContainer)] == [first]
    out = told.ask(1, call="fc-2")
    assert len(of(out, commands.StartContainer)) == 1


def test_a_person_stops_a_container_and_its_input_runs_elsewhere():
    told = Driver()
    told.add()
    (container,) = told.warm()
    told.ask()
    out = told.tell(events.ContainerStopAsked(container))
    assert of(out, commands.StopContainer) and of(out, commands.StartContainer)
    assert ended(told.end(container, "fc-1:0")) == {"fc-1:0": "answered"}  # it came through all the same


def test_a_stop_that_nobody_answers_is_said_again():
    told = Driver()
    told.add()
    (container,) = told.warm()
    told.tell(events.ContainerStopAsked(container))
    assert [c.container for c in of(told.pass_s(10.2), commands.StopContainer)] == [container]
    told.tell(events.ContainerExited(container))
    assert not of(told.pass_s(20.0), commands.StopContainer)


def test_a_node_that_came_back_with_too_many_containers_is_trimmed():
    told = Driver(nodes=1)
    told.add(max_containers=2)
    held = tuple(events.Held(f"co-x{i}", "fu-1", True, (f"fc-1:{i}",) if i < 3 else ()) for i in range(5))
    told.tell(events.InputsQueued("fu-1", [f"fc-1:{i}" for i in range(3)]))
    told.tell(events.NodeLost("no-0"))
    out = told.join(held=held)
    assert {c.container for c in of(out, commands.StopContainer)} >= {"co-x3", "co-x4"}
    out = told.end("co-x0", "fc-1:0")
    assert [c.container for c in of(out, commands.StopContainer)] == ["co-x0"]
