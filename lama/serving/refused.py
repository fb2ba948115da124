"""Errors of requests with their own status code; a ValueError has status 422."""


class RefusedError(Exception):
    """A request is refused with ``status`` and a message of one line."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
