"""Retries as users write them: the value of the model itself."""

from ingle.model.retries import Retries

__all__ = ["Retries"]
