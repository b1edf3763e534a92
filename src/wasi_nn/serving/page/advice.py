"""What to do about an error, for the reader of the page."""

from __future__ import annotations

from wasi_nn.serving.failures import Reason

ADVICE = {
    Reason.INVALID: "The client's request is wrong: compare it with the inputs of the model, which this page shows.",
    Reason.UNAUTHENTICATED: "The client needs a token of the server's --token-file: Authorization: Bearer TOKEN.",
    Reason.FORBIDDEN: "The server's options don't allow it; the message names the option that would.",
    Reason.NOT_FOUND: "The client asks for a model that isn't here: compare the name with the list on this page.",
    Reason.TOO_SLOW: "The client sends slowly: raise --max-body-time, or look at the network between them.",
    Reason.TOO_LARGE: "The message names the limit: raise it, or have the client send less or binary data.",
    Reason.UNSUPPORTED: "The server has no such feature: the message says what to use in its place.",
    Reason.OVERLOADED: "More comes than is computed: have clients try again, raise --max-queue, or add servers.",
    Reason.FAILED: "The runtime failed: try the same input with wasi-nn run, and look at the server's log.",
    Reason.UNAVAILABLE: "The model isn't loaded: its line in the list of models says why.",
    Reason.LATE: "The time was over: raise --max-request-time or the client's timeout, or have fewer requests at once.",
}
"""A sentence for each reason. A client that has gone is no error."""

UNKNOWN = "Look for the request's id in the server's log."
"""For an error without a reason."""
