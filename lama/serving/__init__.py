"""Web pages served from this machine: addresses, access, the policy of browsers, bodies and errors (extra ``demo``)."""

__all__: list[str] = []  # no YAML names a part of it
