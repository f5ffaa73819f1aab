"""Going on by itself: a transfer that broke is tried again, with growing pauses, as long as that makes sense.

Which side tries and how is handed in; here is only when, and when no more.
"""

from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from jetcli.errors import InterruptedTransferError, JetError
from jetcli.transfer.outcome import Broken, Outcome
from jetcli.transfer.ownership import Mailbox
from jetcli.xmpp.negotiation import Negotiation

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
#: What one try of the other side may take on top of its pause: whoever only waits allows for it.
TRY_S = 20.0

Try = Callable[[], Awaitable[Outcome]]
#: Told before every pause: the number of the attempt, how long the pause is, and what broke.
TellWaiting = Callable[[int, float, JetError], None]


def pause_before(attempt: int) -> float:
    """Return the seconds to wait before the `attempt`-th try, the first of which is 1."""
    return float(min(_FIRST_PAUSE_S * 2 ** (attempt - 1), _LONGEST_PAUSE_S))


def patience_s(retries: int) -> float:
    """Return how long a side that only waits allows the other `retries` tries; 0 where there are none."""
    return sum(pause_before(attempt) + TRY_S for attempt in range(1, retries + 1))


async def persist(
    first: Awaitable[Outcome],
    *,
    mailbox: Mailbox,
    answer: Callable[[Negotiation], Awaitable[Outcome]],
    again: Try | None,
    retries: int,
    tell: TellWaiting,
) -> Outcome:
    """Await `first`, and go on after every break of the line; return how it ended at last.

    Meanwhile the peer may go on as well: its session is given to `answer`. Without `again` it alone does. `retries`
    tries without a byte of progress end it; the break is then what is told, not that the last try found nobody.
    """
    outcome, attempt = await first, 0
    broke: JetError | None = None
    while isinstance(outcome, Broken) and outcome.transient:
        if isinstance(outcome.error, InterruptedTransferError):
            broke = outcome.error
        attempt = 1 if outcome.moved else attempt + 1
        negotiation = mailbox.arrived()
        if negotiation is None and attempt > retries:
            return replace(outcome, error=broke or outcome.error)
        if negotiation is None:
            pause_s = pause_before(attempt)
            tell(attempt, pause_s, outcome.error)
            negotiation = await mailbox.next(pause_s if again else pause_s + TRY_S)
        if negotiation is not None:
            outcome = await answer(negotiation)
        elif again is not None:
            outcome = await again()
        else:
            outcome = replace(outcome, moved=False)
    return outcome
