"""Bridges to other programs, one file each. docs/bridges.md says how to install each one, and how it was tested."""

__all__: list[str] = []
