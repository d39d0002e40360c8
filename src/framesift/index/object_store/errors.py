"""What an object store's refusals mean, and what to do about them. Secrets never get into a message."""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from contextlib import contextmanager

from ...errors import FramesiftError, IndexStateError
from ..journal import SOURCE_LINE
from ..location import ObjectUri

__all__ = ["explained", "store_errors"]

DETAILS = re.compile(r"(: <\?xml|\n|, after \d+ retries).*", re.DOTALL)
"""The body of an answer (it may repeat what was signed), the client's own state, and its patience."""

REFUSED = re.compile(
    r"40[13] (Forbidden|Unauthorized)|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|Unauthenticated"
)
UNREACHABLE = re.compile(r"error sending request|[Cc]onnection|dns error|timed out|Timeout")

ENDPOINT_VARIABLES = {
    "s3": "AWS_ENDPOINT_URL",
    "gs": "GOOGLE_SERVICE_ACCOUNT",
    "az": "AZURE_STORAGE_ACCOUNT_NAME",
}
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where it is temporary, AWS_SESSION_TOKEN",
    "gs": "GOOGLE_SERVICE_ACCOUNT or GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}


def explained(said: str, uri: ObjectUri) -> str:
    """The reason in words, with what to do.

    Args:
        said: by the client of the object store, or by Lance, which uses the same one.
        uri: of the index.
    """
    end = os.environ.get("AWS_ENDPOINT_URL") if uri.scheme == "s3" else None
    where = f"at {end}" if end else "with the default address of its provider"
    if "NoSuchBucket" in said or "ContainerNotFound" in said:
        return (
            f"there is no bucket {uri.bucket!r} {where}; make it, or correct its name or "
            f"{ENDPOINT_VARIABLES[uri.scheme]}"
        )
    if REFUSED.search(said):
        return (
            f"the object store {where} refuses these credentials for the bucket {uri.bucket!r}; they are taken from "
            f"{CREDENTIALS[uri.scheme]}, and need the rights to read, list, write and delete below {uri.key}/"
        )
    if "169.254.169.254" in said or "CredentialsNotLoaded" in said or "no providers in chain" in said:
        return f"there are no credentials; set {CREDENTIALS[uri.scheme]}"
    if end and end.startswith("http:") and ("scheme is not allowed" in said or "builder error" in said):
        return (
            f"{end} is not encrypted; use https, or set AWS_ALLOW_HTTP=true where the network can be trusted"
        )
    if UNREACHABLE.search(said):
        return (
            f"the object store cannot be reached {where}; see to the network and {ENDPOINT_VARIABLES[uri.scheme]}. "
            "What was committed is kept, and the same command goes on from there"
        )
    return SOURCE_LINE.sub("", DETAILS.sub("", said)).strip()


@contextmanager
def store_errors(uri: ObjectUri, action: str) -> Generator[None]:
    """Turn what the client raises into :class:`.IndexStateError`, but for missing objects and failed conditions."""
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except FramesiftError:
        raise
    except (AlreadyExistsError, PreconditionError):
        raise
    except (BaseError, OSError, ValueError) as error:
        said = str(error)
        if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in said:
            raise
        # not "from error": its text may repeat what was signed
        raise IndexStateError(f"cannot {action} the index {str(uri)!r}: {explained(said, uri)}") from None
