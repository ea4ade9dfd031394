"""Recommendations over HTTP: a service for a saved model, in one process or several that share its memory.

``lightfm-fast serve`` starts it (extra ``serve``). docs/serving.md describes its requests and limits.
"""

from .workers import Service, run

__all__ = ["Service", "run"]
