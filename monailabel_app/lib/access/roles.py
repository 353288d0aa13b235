"""The role that each route requires. A route that is not listed requires the highest."""

from __future__ import annotations

from collections.abc import Mapping

from otherwise.tokens import Role

METHODS = ("HEAD", "GET", "POST", "PUT", "PATCH", "DELETE")

CLOSED = ("/model/{rest:path}", "/proxy/{rest:path}", "/ohif/{rest:path}", "/logs/{rest:path}", "/reload")
"""Addresses of MONAI Label that are not offered; ``lib/stock_routes`` answers each with the reason."""

OPEN = (
    "GET /otherwise/health",
    "GET /otherwise/health/live",
    "GET /otherwise/health/ready",
    # MONAI Label's, for those who have no token yet; they are there with its OIDC only.
    "GET /auth/",
    "POST /auth/token",
)
"""Routes of probes and of the log-in. Their replies hold nothing about images or people."""

READER = (
    "GET /auth/token/valid",
    "GET /",
    "GET /docs",
    "GET /openapi.json",
    "HEAD /openapi.json",
    "GET /favicon.ico",
    "* /static",
    "GET /info/",
    "POST /infer/{model}",
    "POST /infer/{kind}/{model}",
    "GET /batch/infer",
    "GET /train/",
    "GET /scoring/",
    "GET /datastore/",
    "HEAD /datastore/image",
    "GET /datastore/image",
    "GET /datastore/image/info",
    "HEAD /datastore/label",
    "GET /datastore/label",
    "GET /datastore/label/info",
    "GET /session/{session_id}",
    "GET /otherwise/about",
    "GET /otherwise/metrics",
    "GET /otherwise/studies",
    "POST /otherwise/jobs",
    "GET /otherwise/jobs",
    "GET /otherwise/jobs/events",
    "GET /otherwise/jobs/{id}",
    "POST /otherwise/jobs/{id}/repeat",
    "GET /otherwise/jobs/{id}/events",
    "DELETE /otherwise/jobs/{id}",
    "GET /otherwise/explanations/{id}",
    "GET /otherwise/explanations/{id}/files/{name}",
    "GET /otherwise/explanations/{id}/dicom.zip",
    "GET /otherwise/explanations/{id}/dicom/{name}",
    "GET /otherwise/explanations/{id}/report.html",
    "GET /otherwise/explanations/{id}/report.pdf",
    "GET /otherwise/vocabulary",
    "GET /otherwise/annotations",
    "GET /otherwise/concepts",
    "POST /otherwise/concepts/query",
    "GET /otherwise/concepts/units",
    "GET /otherwise/concepts/map.png",
    "GET /otherwise/concepts/units/{layer}/{unit}/patches/{number}.png",
    "GET /otherwise/concepts/units/{layer}/{unit}/contour.png",
    "GET /otherwise/concepts/units/{layer}/{unit}/mask.seg.nrrd",
    "GET /otherwise/concepts/questions",
    "GET /otherwise/concepts/search",
    "GET /otherwise/concepts/similar",
    "GET /otherwise/concepts/table.csv",
    "GET /otherwise/models",
    *(f"{method} /otherwise/{{rest:path}}" for method in METHODS[1:]),  # not found
    # MONAI Label's addresses that are closed say why to everybody.
    *(f"{method} {address}" for address in CLOSED for method in METHODS),
)

ANNOTATOR = (
    "PUT /session/",
    "DELETE /session/{session_id}",
    "POST /activelearning/{strategy}",
    "POST /otherwise/annotations",
    "POST /otherwise/explanations/{id}/store",
    "PUT /datastore/label",
    "PUT /datastore/label/info",
    "PUT /datastore/updatelabelinfo",
    "PUT /datastore/image/info",
    "POST /scoring/",
    "POST /scoring/{method}",
    "DELETE /scoring/",
)

ADMIN = (
    "POST /train/",
    "POST /train/{model}",
    "POST /train/concepts",
    "DELETE /train/",
    "POST /batch/infer/{model}",
    "DELETE /batch/infer",
    "PUT /datastore/",
    "PUT /datastore/image",
    "DELETE /datastore/",
    "DELETE /datastore/image",
    "DELETE /datastore/label",
    "GET /datastore/dataset",
    "POST /otherwise/concepts/activate",
    "POST /otherwise/models/{id}/activate",
    "POST /otherwise/models/rollback",
)

TABLE: Mapping[str, Role | None] = {
    **dict.fromkeys(OPEN, None),
    **dict.fromkeys(READER, Role.READER),
    **dict.fromkeys(ANNOTATOR, Role.ANNOTATOR),
    **dict.fromkeys(ADMIN, Role.ADMIN),
}


def role_for(method: str, template: str | None) -> Role | None:
    """Return the lowest role that a route requires; None if it is open to all.

    Args:
        method: HTTP method.
        template: Of the route; None: no route answers, so any logged-in user may get the 404.
    """
    if template is None:
        return Role.READER
    return TABLE.get(f"{method} {template}", TABLE.get(f"* {template}", Role.ADMIN))
