"""Where storage errors become API errors: the one border between the two trees."""

from __future__ import annotations

from storage import errors as storage
from vapi import errors
from vapi.errors import ApiError
from vapi.gvk import GVR


def translate(error: storage.StorageError, gvr: GVR, name: str) -> ApiError:
    """The answer for a storage error that no caller handled itself."""
    match error:
        case storage.KeyExists():
            return errors.already_exists(gvr, name)
        case storage.KeyNotFound():
            return errors.not_found(gvr, name)
        case storage.RevisionConflict() if error.current == 0:
            return errors.not_found(gvr, name)
        case storage.RevisionConflict():
            return errors.conflict(gvr, name)
        case storage.Compacted():
            return errors.expired("The resourceVersion for the provided list is too old.")
        case storage.OutcomeUnknown():
            return errors.timeout("the store did not answer: the write may or may not have been committed")
        case storage.FeedBehind():
            return errors.timeout("the store's change feed did not catch up in time", retry_after_s=1)
        case storage.ValueTooLarge():
            return errors.ApiError(413, "RequestEntityTooLarge", f"Request entity too large: {error}")
        case storage.StoreUnavailable() | storage.StoreClosed():
            return errors.service_unavailable("the store is unavailable, try again", retry_after_s=1)
        case _:
            return errors.internal(f"storage: {error}")
