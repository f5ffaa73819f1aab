"""How fast a transfer moves and how long it still takes, from what it reported lately.

Pure: the time is passed in. A resumed transfer starts at its offset, which counts as progress but not as speed.
"""

from collections import deque

#: Older reports say little about now, and a shorter window makes the number jump.
WINDOW_S = 5.0


class Rate:
    """The speed of one transfer over the last few seconds."""

    def __init__(self) -> None:
        self._reports: deque[tuple[float, int]] = deque()

    def report(self, now: float, count: int) -> None:
        """Take note that `count` bytes were through at the time `now` (monotonic seconds)."""
        self._reports.append((now, count))
        while len(self._reports) > 2 and now - self._reports[0][0] > WINDOW_S:
            self._reports.popleft()

    @property
    def bytes_per_s(self) -> float | None:
        """Bytes a second, or None before there are two reports with time between them."""
        if len(self._reports) < 2:
            return None
        (first_at, first), (last_at, last) = self._reports[0], self._reports[-1]
        if last_at <= first_at:
            return None
        return max(0.0, (last - first) / (last_at - first_at))

    def eta_s(self, size: int | None) -> float | None:
        """Return the seconds until `size` bytes are through, or None while that cannot be said."""
        speed = self.bytes_per_s
        if size is None or not speed:
            return None
        return max(0, size - self._reports[-1][1]) / speed
