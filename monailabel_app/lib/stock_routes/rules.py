"""The rule for the arguments of each of MONAI Label's routes.

A route without an entry is not offered. FastAPI checks numbers, switches and choices; the rules check text, JSON and
files.
"""

from __future__ import annotations

from collections.abc import Mapping

from lib.stock_routes.data_rules import (
    checksum,
    kept,
    known_image,
    known_label,
    known_session,
    label_file,
    labelled,
    new_image,
    new_tag,
    own_label,
    session_files,
    signed,
)
from lib.stock_routes.rule import Rule, all_of, anything
from lib.stock_routes.work_rules import batch, scoring, scorings, strategy, training, trainings

RULES: Mapping[str, Rule] = {
    "GET /info/": anything,
    "POST /activelearning/{strategy}": strategy,
    "GET /batch/infer": anything,
    "POST /batch/infer/{model}": batch,
    "DELETE /batch/infer": anything,
    "GET /train/": anything,
    "POST /train/": trainings,
    "POST /train/{model}": training,
    "DELETE /train/": anything,
    "GET /scoring/": anything,
    "POST /scoring/": scorings,
    "POST /scoring/{method}": scoring,
    "DELETE /scoring/": anything,
    "GET /datastore/": anything,
    "PUT /datastore/": all_of(new_image, kept("params")),
    "PUT /datastore/image": all_of(new_image, kept("params")),
    "DELETE /datastore/": known_image("id"),
    "DELETE /datastore/image": known_image("id"),
    "HEAD /datastore/image": all_of(known_image("image"), checksum),
    "GET /datastore/image": known_image("image"),
    "GET /datastore/image/info": known_image("image"),
    "PUT /datastore/image/info": all_of(known_image("image"), kept("info")),
    "PUT /datastore/label": all_of(
        known_image("image"), new_tag, label_file, kept("params"), own_label("image", "tag"), signed("params")
    ),
    "DELETE /datastore/label": known_label("id"),
    "HEAD /datastore/label": known_label("image"),
    "GET /datastore/label": known_label("label"),
    "GET /datastore/label/info": known_label("label"),
    "PUT /datastore/label/info": all_of(known_label("label"), kept("info"), own_label("label", "tag"), signed("info")),
    "PUT /datastore/updatelabelinfo": all_of(
        known_label("label"), kept("params"), own_label("label", "tag"), signed("params")
    ),
    "GET /datastore/dataset": labelled,
    "GET /session/{session_id}": known_session,
    "PUT /session/": session_files,
    "DELETE /session/{session_id}": known_session,
    # MONAI Label's log-in, where its authentication is switched on; it speaks to the address of its settings only.
    "GET /auth/": anything,
    "POST /auth/token": anything,
    "GET /auth/token/valid": anything,
}
