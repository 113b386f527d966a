"""Which cores the threads of a pass run on, and what becomes of their errors."""

import os
import threading

import pytest

from gatelab.kernels import sharing

LINUX = pytest.mark.skipif(sharing._core is None, reason="this system does not say on which core a thread is")


def of_each(look, count=2):
    """What ``look`` sees in each of ``count`` threads that work at the same time, the caller's first."""
    seen, all_here = [None] * count, threading.Barrier(count, timeout=20)

    def work(index):
        all_here.wait()
        seen[index] = look()

    sharing.together([lambda index=index: work(index) for index in range(count)], count)
    return seen


@LINUX
def test_another_thread_keeps_off_the_callers_core(monkeypatch):
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one core")
    core = min(allowed)
    monkeypatch.setattr(sharing, "_core", lambda: core)
    mine, other = of_each(lambda: os.sched_getaffinity(0))
    assert other == allowed - {core}
    assert mine == allowed == os.sched_getaffinity(0)


@LINUX
def test_a_caller_with_one_core_shares_it():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert len(of_each(threading.get_ident)) == 2
    finally:
        os.sched_setaffinity(0, allowed)


def test_a_system_that_forbids_it_or_says_nothing(monkeypatch):
    def forbidden(process, cores):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    assert len(set(of_each(threading.get_ident))) == 2
    monkeypatch.setattr(sharing, "_core", None)
    assert len(set(of_each(threading.get_ident))) == 2


@pytest.mark.parametrize("failing", [0, 1])
def test_an_error_is_raised_after_all_have_ended(failing):
    done, all_here = [], threading.Barrier(2, timeout=20)

    def work(index):
        all_here.wait()
        if index == failing:
            raise ValueError(index)
        done.append(index)

    with pytest.raises(ValueError, match=str(failing)):
        sharing.together([lambda index=index: work(index) for index in range(2)], 2)
    assert done == [1 - failing]
