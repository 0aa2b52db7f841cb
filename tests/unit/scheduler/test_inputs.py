from unit.scheduler.driver import Driver, ended, of, sent

from ingle.model.retries import Retries
from ingle.scheduler import commands, events


def test_an_input_is_queued_sent_ended_and_forgotten():
    told = Driver()
    told.add()
    (start,) = told.ask()
    out = told.ready(start.container)
    assert sent(out) == {start.container: ["fc-1:0"]}
    out = told.end(start.container, "fc-1:0")
    assert out == [commands.EndInputs(["fc-1:0"], "answered")]
    assert not told.cluster.inputs


def test_a_bad_attempt_is_made_again_after_its_delay_until_the_retries_are_used_up():
    told = Driver()
    told.add(retries=Retries(1, initial_delay=2.0))
    (container,) = told.warm()
    told.ask()
    out = told.end(container, "fc-1:0", good=False)
    assert out == [commands.RetryInput("fc-1:0", 2, 2.0)]
    assert not sent(told.pass_s(1.8))
    assert sent(told.pass_s(0.3)) == {container: ["fc-1:0"]}
    assert ended(told.end(container, "fc-1:0", good=False)) == {"fc-1:0": "answered"}


def test_a_fault_counts_as_an_attempt_and_its_reason_ends_the_input():
    told = Driver()
    told.add(retries=Retries(1, initial_delay=0.0))
    (container,) = told.warm()
    told.ask()
    out = told.tell(events.ContainerExited(container, running="fc-1:0", fault="out of memory"))
    assert of(out, commands.RetryInput)
    (start,) = of(out, commands.StartContainer)
    told.ready(start.container)
    out = told.tell(events.ContainerExited(start.container, running="fc-1:0", fault="out of memory"))
    assert of(out, commands.EndInputs) == [commands.EndInputs(["fc-1:0"], "fault", "out of memory")]


def test_a_lost_container_is_no_retry_but_the_eighth_in_a_row_is_the_end():
    told = Driver()
    told.add()
    told.ask()
    for n in range(8):
        told.pass_s(2.0)
        (container,) = told.cluster.functions["fu-1"].containers
        told.ready(container)
        out = told.tell(events.ContainerExited(container, running="fc-1:0", how="ended by signal SIGSEGV"))
        assert not of(out, commands.RetryInput)
        assert bool(ended(out)) == (n == 7), n
    assert ended(out) == {"fc-1:0": "lost"}
    assert of(out, commands.EndInputs)[0].reason.endswith("8 times while it ran; the last time: ended by signal SIGSEGV")


def test_a_lost_generator_is_told_that_its_items_are_void():
    told = Driver()
    told.add(is_generator=True)
    (container,) = told.warm()
    told.ask()
    out = told.tell(events.ContainerExited(container, running="fc-1:0"))
    assert of(out, commands.RetryInput) == [commands.RetryInput("fc-1:0", 1, 0.0)]


def test_a_waiting_input_is_cancelled_at_once_and_a_running_one_when_it_answers():
    told = Driver()
    told.add(max_containers=1, retries=Retries(5))
    (container,) = told.warm()
    told.ask(2)
    out = told.tell(events.InputsCancelled(["fc-1:0", "fc-1:1"]))
    assert out == [commands.CancelInput(container, "no-0", "fc-1:0"), commands.EndInputs(["fc-1:1"], "cancelled")]
    assert told.tell(events.InputsCancelled(["fc-1:0"])) == []
    assert ended(told.end(container, "fc-1:0", good=False)) == {"fc-1:0": "cancelled"}


def test_a_cancelled_input_that_had_succeeded_stands():
    told = Driver()
    told.add()
    (container,) = told.warm()
    told.ask()
    told.tell(events.InputsCancelled(["fc-1:0"]))
    assert ended(told.end(container, "fc-1:0")) == {"fc-1:0": "answered"}


def test_an_input_that_waits_for_its_retry_is_cancelled_at_once():
    told = Driver()
    told.add(retries=Retries(3, initial_delay=1.0))
    (container,) = told.warm()
    told.ask()
    told.end(container, "fc-1:0", good=False)
    assert ended(told.tell(events.InputsCancelled(["fc-1:0"]))) == {"fc-1:0": "cancelled"}
    assert not sent(told.pass_s(2.0))


def test_a_cancel_that_nobody_answers_ends_the_input_and_its_container():
    told = Driver()
    told.add()
    (container,) = told.warm()
    told.ask()
    told.tell(events.InputsCancelled(["fc-1:0"]))
    out = told.pass_s(10.2)
    assert ended(out) == {"fc-1:0": "cancelled"}
    assert [command.container for command in of(out, commands.StopContainer)] == [container]


def test_a_cancelled_input_that_is_recalled_ends():
    told = Driver()
    told.add()
    (container,) = told.short()
    told.ask(3)
    told.tell(events.InputsCancelled(["fc-1:2"]))
    out = told.tell(events.InputsRecalled(container, ["fc-1:1", "fc-1:2"]))
    assert ended(out) == {"fc-1:2": "cancelled"}


def test_recalled_inputs_go_to_the_front_in_order():
    told = Driver()
    told.add(max_containers=1)
    (container,) = told.short()
    told.ask(4)
    told.tell(events.InputsQueued("fu-1", ["fc-2:0"]))
    told.cluster.functions["fu-1"].streak = 0
    told.tell(events.InputsRecalled(container, ["fc-1:1", "fc-1:2", "fc-1:3"]))
    assert list(told.cluster.functions["fu-1"].queue) == ["fc-1:1", "fc-1:2", "fc-1:3", "fc-2:0"]


def test_queued_twice_runs_once():
    told = Driver()
    told.add()
    (container,) = told.warm()
    assert sent(told.ask()) == {container: ["fc-1:0"]}
    assert told.ask() == []
