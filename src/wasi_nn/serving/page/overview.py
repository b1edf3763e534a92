"""What the page shows of the server, as JSON. Its size is bounded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import wasi_nn
from wasi_nn.serving.page.activity import EVERY, Activity, ModelActivity, percentiles
from wasi_nn.serving.page.advice import ADVICE, UNKNOWN
from wasi_nn.serving.texts.texts import is_language_model, operator_options

if TYPE_CHECKING:
    from wasi_nn.serving.models import Model, Models
    from wasi_nn.serving.observing.request_log import FinishedRequest
    from wasi_nn.serving.service import InferenceService

_MOST_MODELS = 500
_MOST_LIVE = 30
_LONGEST_TEXT = 400  # characters of an error or a reason


def overview(service: InferenceService, activity: Activity, *, shows_requests: bool) -> dict[str, Any]:
    """The server now, its latest minutes, its models and its errors.

    Requests of clients and their errors are None unless `shows_requests`.
    """
    models = list(service.models.all())
    limits = service.limits
    live = activity.live()
    return {
        "server": {
            "version": wasi_nn.__version__,
            "seconds": round(time.monotonic() - activity.began, 1),
            "is_ready": service.is_ready,
            "is_ending": service.is_draining,
        },
        "limits": {
            "computes": limits.computes,
            "queue": limits.queue,
            "total_bytes": limits.total_bytes,
            "request_time": limits.request_time,
        },
        "now": {
            "requests": len(live),
            "running": activity.running,
            "waiting": activity.waiting,
            "held_bytes": activity.held_bytes,
        },
        "moments": _moments(activity),
        "models": [_model(service.models, model, activity.models.get(model.name)) for model in models[:_MOST_MODELS]],
        "guests": _guests(activity),
        "more_models": max(0, len(models) - _MOST_MODELS),
        "requests": [_live(request) for request in live[:_MOST_LIVE]] if shows_requests else None,
        "errors": _errors(activity) if shows_requests else None,
    }


def _moments(activity: Activity) -> dict[str, Any]:
    moments = list(activity.moments)
    times = [moment.seconds or (None, None, None) for moment in moments]
    return {
        "every": EVERY,
        "ended": [moment.ended for moment in moments],
        "failed": [moment.failed for moment in moments],
        "p50": [each[0] for each in times],
        "p95": [each[1] for each in times],
        "p99": [each[2] for each in times],
        "running": [moment.running for moment in moments],
        "waiting": [moment.waiting for moment in moments],
        "held_bytes": [moment.held_bytes for moment in moments],
        "resident_bytes": [moment.resident_bytes for moment in moments],
    }


def _model(models: Models, model: Model, activity: ModelActivity | None) -> dict[str, Any]:
    about: dict[str, Any] = {
        "name": model.name,
        "state": model.state.value,
        "reason": model.reason[:_LONGEST_TEXT],
    }
    about |= _counts(activity)
    if model.served is not None:
        graph = model.served.graph
        about |= {"kind": _kind(models, model), "runtime": graph.runtime, "device": graph.device}
        about["platform"] = graph.platform
    return about


def _counts(activity: ModelActivity | None) -> dict[str, Any]:
    return {
        "requests": activity.requests if activity else 0,
        "failed": activity.failed if activity else 0,
        "percentiles": percentiles(activity.latest) if activity else None,
    }


def _guests(activity: Activity) -> list[dict[str, Any]]:
    """The guests that answer HTTP requests."""
    places = activity.guests.places() if activity.guests is not None else []
    return [
        {"name": name, "path": path, "reason": reason[:_LONGEST_TEXT], **_counts(activity.models.get(name))}
        for name, path, reason in places[:_MOST_MODELS]
    ]


def _kind(models: Models, model: Model) -> str:
    """How the page lets somebody try a model that is loaded: by tensors, with a text, or with embeddings of one."""
    if model.served is None or not is_language_model(model.served):
        return "tensors"
    options = operator_options(models, model)
    if options.get("reranking"):
        return "tensors"
    return "embeddings" if options.get("embedding") else "text"


def _live(request: FinishedRequest) -> dict[str, Any]:
    return {
        "id": request.id,
        "protocol": request.protocol,
        "call": request.call,
        "model": request.model[:_LONGEST_TEXT],
        "seconds": round(time.monotonic() - request.began, 3),
    }


def _errors(activity: Activity) -> list[dict[str, Any]]:
    """The latest errors, the last one first."""
    return [
        {
            "seconds_ago": round(time.monotonic() - failure.at),
            "id": failure.id,
            "requests": failure.requests,
            "call": failure.call,
            "model": failure.model,
            "status": failure.status,
            "error": failure.error,
            "advice": ADVICE.get(failure.reason, UNKNOWN) if failure.reason else UNKNOWN,
        }
        for failure in activity.failures()
    ]
