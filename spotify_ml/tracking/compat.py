"""The one place where a library is changed at run time: each change with its reason, and when it can go."""

from typing import Any

from hydra.core.utils import JobReturn, JobStatus


def let_hydra_raise() -> None:
    """Let Hydra raise what a job raised, without printing what was typed before it.

    Hydra 1.3 writes ``Error executing job with overrides: [...]`` to standard error, passwords and all, whatever the
    error is; it has no option for that. Can go when it has.
    """
    JobReturn.return_value = JobReturn.return_value.getter(_value_or_error)  # type: ignore[attr-defined,method-assign]


def _value_or_error(result: Any) -> Any:
    if result.status is JobStatus.FAILED:
        raise result._return_value
    return result._return_value
