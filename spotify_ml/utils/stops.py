"""Ctrl-C, SIGTERM and SIGHUP: each ends a command within seconds, and never within a step that must be completed."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread, current_thread, main_thread
from time import monotonic, sleep
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

# Libraries that hold locks or transactions, which would stay held, and the module that writes to standard output,
# which would write twice.
_UNBROKEN_CODE = (
    *(f"{os.sep}{name}{os.sep}" for name in ("sqlalchemy", "filelock", "optuna", "mlflow", "logging")),
    str(Path(__file__).with_name("streams.py")),
)
# Functions that open, close or remove something, and XGBoost's callbacks for rows, which frees memory twice on errors.
_UNBROKEN_FUNCTIONS = frozenset({"__enter__", "__exit__", "__del__", "_next_wrapper", "_reset_wrapper"})
_UNBROKEN_FOR_S = 1.5
_STUCK_AFTER_S = 3.0
_END_AFTER_S = 4.0
_TICK_S = 0.02
# A terminal and a launcher may both forward the same Ctrl-C.
_SAME_CTRL_C_S = 0.3


class Stopped(KeyboardInterrupt):
    """A signal asked the process to stop.

    A subclass: after a plain `KeyboardInterrupt` leaves ``exec``, as dataclasses use it, Python ends the process by
    SIGINT and ignores its exit code.
    """


@dataclass
class _State:
    """The signal that stops this process, and how far the stop has come."""

    # 0: none yet.
    number: int = 0
    # When the handler was called.
    since: float = 0.0
    # Whether `listen` was called: users of the library have their own handlers.
    is_listening: bool = False
    # Whether the main thread has seen the signal, or need not see it.
    is_raised: bool = False
    # The number of open blocks that must not be interrupted.
    n_deferred: int = 0
    # Whether the next call of the handler is a reminder.
    is_tick: bool = False
    last_steps: list[Callable[[], object]] = field(default_factory=list)


_state = _State()


def listen() -> None:
    """Let each of `SIGNALS` that is not ignored raise `Stopped` in the main thread, and end the process soon.

    A stop waits for code that holds a lock or talks to a store. If the main thread does not end, the steps of
    `if_stuck` are run and the process ends. A second Ctrl-C ends it at once.
    """
    _state.is_listening = True
    heeded = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    Thread(target=_watch, args=(reading,), daemon=True).start()
    # Python drops errors in callbacks of weak references and of C code, where no caller could catch them.
    sys.unraisablehook = _raise_again
    for number in heeded:
        signal.signal(number, _handle)


def requested() -> bool:
    """Return whether a signal asked this process to stop."""
    return _state.number != 0


def exit_code() -> int:
    """Return the exit code of a stopped process, as in shells: 130 after Ctrl-C."""
    return 128 + (_state.number or signal.SIGINT)


def name() -> str:
    """Return the name of the signal that stopped this process, for a message."""
    number = signal.Signals(_state.number or signal.SIGINT)
    return "Ctrl-C" if number is signal.SIGINT else number.name


def status_of(error: BaseException) -> str:
    """Return the status of a run that ended in an error: ``KILLED`` after a stop, else ``FAILED``.

    A library that a stop interrupts may raise another error.
    """
    return "KILLED" if isinstance(error, KeyboardInterrupt) or requested() else "FAILED"


def note(number: int) -> None:
    """Record a signal that a server handles itself: the process ends in time, with the signal's exit code."""
    if not _state.number:
        _state.number, _state.since, _state.is_raised = number, monotonic(), True
        Thread(target=_end_in_time, args=(number,), daemon=True).start()


def finish() -> None:
    """Let a process whose work is done end without interruption."""
    _state.is_raised = True
    sys.unraisablehook = sys.__unraisablehook__


@contextmanager
def deferred() -> Iterator[None]:
    """Delay a stop until the end of the block; outside of a command this affects Ctrl-C only."""
    if current_thread() is not main_thread():
        yield
        return
    is_borrowed = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_borrowed:
        signal.signal(signal.SIGINT, _handle)
    _state.n_deferred += 1
    try:
        yield
    finally:
        _state.n_deferred -= 1
        is_due = _state.number != 0 and not _state.n_deferred and not _state.is_raised
        if is_borrowed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _state.number = 0
        if is_due:
            _state.is_raised = _state.is_listening
            raise (Stopped if _state.is_listening else KeyboardInterrupt)


@contextmanager
def left_to_this_process() -> Iterator[None]:
    """Start child processes that ignore Ctrl-C and hang-ups, so that only this process handles them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Child processes inherit blocked signals; another thread of this process receives the signal.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def if_stuck(step: Callable[[], object]) -> Iterator[None]:
    """Run `step` in another thread if a stop comes during the block and the main thread hangs; ignore its errors."""
    _state.last_steps.append(step)
    try:
        yield
    finally:
        _state.last_steps.remove(step)


def _handle(number: int, frame: FrameType | None) -> None:
    is_tick, _state.is_tick = _state.is_tick, False
    if not _state.number:
        _state.number, _state.since = number, monotonic()
    elif number == signal.SIGINT and not is_tick and _state.is_listening and _is_second():
        os._exit(exit_code())
    if not _state.is_raised and not _state.n_deferred and not _is_unbroken(frame):
        _state.is_raised = True
        raise Stopped


def _raise_again(dropped: "sys.UnraisableHookArgs") -> None:
    if issubclass(dropped.exc_type, Stopped):
        _state.is_raised = False
    else:
        sys.__unraisablehook__(dropped)


def _is_second() -> bool:
    return monotonic() - _state.since > _SAME_CTRL_C_S


def _is_unbroken(frame: FrameType | None) -> bool:
    """Return whether the running code, or a caller of it, must not be interrupted yet."""
    if monotonic() - _state.since > _UNBROKEN_FOR_S or not hasattr(signal, "pthread_kill"):
        return False
    while frame is not None:
        code = frame.f_code
        if code.co_name in _UNBROKEN_FUNCTIONS or any(part in code.co_filename for part in _UNBROKEN_CODE):
            return True
        frame = frame.f_back
    return False


def _watch(reading: int) -> None:
    """Wait for signals, even while the main thread is busy, and make sure that they end the process."""
    while True:
        for number in os.read(reading, 64):
            if number in SIGNALS and signal.getsignal(number) is _handle:
                _end_in_time(number)


def _end_in_time(number: int) -> None:
    began, is_stuck = monotonic(), False
    while (passed := monotonic() - began) < _END_AFTER_S:
        sleep(_TICK_S)
        if _state.number and not _state.is_raised and hasattr(signal, "pthread_kill"):
            _state.is_tick = True
            signal.pthread_kill(main_thread().ident or 0, number)
        if passed > _STUCK_AFTER_S and not is_stuck:
            is_stuck = True
            Thread(target=_take_last_steps, daemon=True).start()
    os._exit(128 + number)


def _take_last_steps() -> None:
    # The process ends in any case, whether all steps are done or not.
    while _state.last_steps:
        step = _state.last_steps.pop()
        with suppress(BaseException):
            step()
