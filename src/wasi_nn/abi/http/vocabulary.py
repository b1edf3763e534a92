"""The types of `wasi:http/types`, and what its words mean to a server."""

from __future__ import annotations

from wasi_nn.abi.component.values import (
    BYTES,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    EngineResource,
    List,
    Option,
    Record,
    Resource,
    Result,
    Tuple,
    ValueType,
    Variant,
)

RESOURCES = (
    "fields",
    "incoming-request",
    "outgoing-request",
    "request-options",
    "response-outparam",
    "incoming-response",
    "incoming-body",
    "future-trailers",
    "outgoing-response",
    "outgoing-body",
    "future-incoming-response",
)
"""The resources, each with its place as its number for the engine, from `FIRST_NUMBER` on."""

FIRST_NUMBER = 0x6874_7400  # beside those of other parts of the host


def number_of(resource: str) -> int:
    """The number of a resource for the engine."""
    return FIRST_NUMBER + RESOURCES.index(resource)


def own(resource: str) -> Resource:
    """A resource that changes hands."""
    return Resource(number_of(resource), is_own=True)


def borrow(resource: str) -> Resource:
    """A resource that is lent for a call."""
    return Resource(number_of(resource), is_own=False)


METHODS = ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")

METHOD = Variant(dict.fromkeys(METHODS) | {"other": TEXT})
SCHEME = Variant({"HTTP": None, "HTTPS": None, "other": TEXT})
HEADER_ERROR = Variant(dict.fromkeys(("invalid-syntax", "forbidden", "immutable")))
ENTRIES = List(Tuple(TEXT, BYTES))
STREAM = EngineResource()

_FIELD_SIZE = Record(field_name=Option(TEXT), field_size=Option(U32))
ERROR_CASES: dict[str, ValueType | None] = {
    "DNS-timeout": None,
    "DNS-error": Record(rcode=Option(TEXT), info_code=Option(U16)),
    "destination-not-found": None,
    "destination-unavailable": None,
    "destination-IP-prohibited": None,
    "destination-IP-unroutable": None,
    "connection-refused": None,
    "connection-terminated": None,
    "connection-timeout": None,
    "connection-read-timeout": None,
    "connection-write-timeout": None,
    "connection-limit-reached": None,
    "TLS-protocol-error": None,
    "TLS-certificate-error": None,
    "TLS-alert-received": Record(alert_id=Option(U8), alert_message=Option(TEXT)),
    "HTTP-request-denied": None,
    "HTTP-request-length-required": None,
    "HTTP-request-body-size": Option(U64),
    "HTTP-request-method-invalid": None,
    "HTTP-request-URI-invalid": None,
    "HTTP-request-URI-too-long": None,
    "HTTP-request-header-section-size": Option(U32),
    "HTTP-request-header-size": Option(_FIELD_SIZE),
    "HTTP-request-trailer-section-size": Option(U32),
    "HTTP-request-trailer-size": _FIELD_SIZE,
    "HTTP-response-incomplete": None,
    "HTTP-response-header-section-size": Option(U32),
    "HTTP-response-header-size": _FIELD_SIZE,
    "HTTP-response-body-size": Option(U64),
    "HTTP-response-trailer-section-size": Option(U32),
    "HTTP-response-trailer-size": _FIELD_SIZE,
    "HTTP-response-transfer-coding": Option(TEXT),
    "HTTP-response-content-coding": Option(TEXT),
    "HTTP-response-timeout": None,
    "HTTP-upgrade-failed": None,
    "HTTP-protocol-error": None,
    "loop-detected": None,
    "configuration-error": None,
    "internal-error": Option(TEXT),
}
ERROR_CODE = Variant(ERROR_CASES)

_STATUS_OF_ERROR = {
    "HTTP-request-denied": 403,
    "HTTP-request-length-required": 411,
    "HTTP-request-body-size": 413,
    "HTTP-request-method-invalid": 405,
    "HTTP-request-URI-invalid": 400,
    "HTTP-request-URI-too-long": 414,
    "HTTP-request-header-section-size": 431,
    "HTTP-request-header-size": 431,
    "HTTP-request-trailer-section-size": 431,
    "HTTP-request-trailer-size": 431,
    "DNS-timeout": 504,
    "connection-timeout": 504,
    "connection-read-timeout": 504,
    "connection-write-timeout": 504,
    "HTTP-response-timeout": 504,
    "destination-unavailable": 503,
    "connection-limit-reached": 503,
    "loop-detected": 508,
    "configuration-error": 500,
    "internal-error": 500,
}


def status_of(error: str) -> int:
    """The status of the answer for an error that a guest gives in place of one."""
    return _STATUS_OF_ERROR.get(error, 502)


def method_of(name: str) -> tuple[str, str | None]:
    """A method as a value of `method`."""
    case = name.lower()
    return (case, None) if name.isupper() and case in METHODS else ("other", name)


NO_ERROR = Result()
HEADER_RESULT = Result(error=HEADER_ERROR)
TRAILERS = Option(Result(Result(Option(own("fields")), ERROR_CODE)))
INCOMING = Option(Result(Result(own("incoming-response"), ERROR_CODE)))
