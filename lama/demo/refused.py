"""What a request gets in place of an image: a status code and one line; a ValueError is 422."""


class RefusedError(Exception):
    """A request that is not answered with what it asked for."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
