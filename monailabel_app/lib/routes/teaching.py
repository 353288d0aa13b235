"""``/otherwise/annotations`` and ``/otherwise/concepts``: say what something is, ask what answers, be asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from monailabel.config import RBAC_ADMIN, RBAC_ANNOTATOR, RBAC_USER
from monailabel.endpoints.user.auth import User
from pydantic import BaseModel, ConfigDict

from lib.access.authentication import current_user
from lib.http.caller import caller_of, user_of
from lib.http.work_threads import WorkThreads
from lib.routes.replies.base import binary
from lib.routes.replies.teaching import (
    ActivatedReply,
    AnnotationsReply,
    ConceptsReply,
    LearningReply,
    QueryReply,
    QuestionsReply,
    RecordedReply,
    SearchReply,
    SimilarReply,
    UnitsReply,
    VocabularyReply,
)
from lib.storage.owners import Caller
from lib.teaching.activation_cache import NotYetError
from lib.teaching.annotation_requests import (
    AnnotationRequest,
    ConceptQuery,
    ReadSession,
    SubjectReference,
    answer,
    make_annotation,
    make_region,
    resolve_subject,
)
from lib.teaching.questions import ask
from lib.teaching.search import findings_table, regions_of_term, similar_regions
from lib.teaching.service import TeachingService
from lib.teaching.summary import describe
from lib.teaching.unit_map import draw_units
from lib.teaching.unit_masks import unit_segmentation
from lib.teaching.unit_patches import draw_contour, draw_unit_patch, unit_index
from otherwise.annotations.annotation import Annotation
from otherwise.concepts.activations import ImageActivations
from otherwise.images.image import Image

MOST_QUESTIONS = 100
MOST_MARKS = 512
MOST_FOUND = 1_000
MOST_ANNOTATIONS = 10_000
MOST_NUMBER = 2**53
"""Of an annotation: databases count no further than 2**63, and JavaScript no further than this."""
QUERY_SECONDS = 60.0
"""How long a query waits for the device."""
LEARNING_SECONDS = 5.0
"""How long a request to learn waits for the end."""


class ActivateBody(BaseModel):
    """Which version of the names to use."""

    model_config = ConfigDict(extra="forbid")

    version: int | Literal["latest"]


@dataclass(frozen=True)
class UnitInImage:
    """Which unit a request asks about, in which explained image; ``label`` is that of a decisive region."""

    layer: str
    unit: str
    explanation: Annotated[str, Query(max_length=128)]
    label: Annotated[int | None, Query(ge=1, le=255)] = None

    @property
    def name(self) -> str:
        """Return the unit's name."""
        return f"{self.layer}/{self.unit}"


def teaching_router(
    teaching: TeachingService, session: ReadSession, threads: WorkThreads, drawing: WorkThreads, route: type[APIRoute]
) -> APIRouter:
    """Make the routes.

    Args:
        teaching: What has been taught.
        session: Reads the image of a session.
        threads: For what may wait for the device.
        drawing: For pictures and tables.
        route: Class of the routes.
    """
    router = APIRouter(prefix="/otherwise", tags=["Otherwise"], route_class=route)

    @router.get(
        "/vocabulary",
        summary=f"{RBAC_USER}Terms to name things by",
        response_model=VocabularyReply,
        response_model_exclude_unset=True,
    )
    def vocabulary() -> dict[str, Any]:
        terms = []
        for term in teaching.vocabulary:
            parent = teaching.vocabulary.parent(term)
            above = {"scheme": parent.scheme, "code": parent.code} if parent else None
            terms.append({**asdict(term), "parent": above, "spurious": teaching.vocabulary.spurious(term)})
        return {"terms": terms}

    @router.post(
        "/annotations",
        status_code=201,
        summary=f"{RBAC_ANNOTATOR}Say what something is, or take it back",
        response_model=RecordedReply,
        response_model_exclude_unset=True,
    )
    async def say(
        body: AnnotationRequest, request: Request, user: Annotated[User, Depends(current_user)]
    ) -> dict[str, Any]:
        return await threads.run(lambda: record(body, request, user), user_of(request))

    def record(body: AnnotationRequest, request: Request, user: User) -> dict[str, Any]:
        logged_in = bool(request.state.user)
        author = user.username if logged_in else body.author or user.username
        note = make_annotation(body, teaching, author, session, caller_of(request))
        number = teaching.record(note)
        return {"number": number, "annotation": _without_voxels(note)}

    @router.get(
        "/annotations",
        summary=f"{RBAC_USER}Annotations, oldest first",
        response_model=AnnotationsReply,
        response_model_exclude_unset=True,
    )
    def list_annotations(
        request: Request, image: str = "", since: int = Query(0, ge=0, le=MOST_NUMBER)
    ) -> dict[str, Any]:
        found = teaching.annotations.since(since, MOST_ANNOTATIONS)
        withdrawn, caller = teaching.annotations.withdrawn(), caller_of(request)
        notes = [
            {
                "number": each.number,
                "withdrawn": each.annotation.id in withdrawn,
                **each.annotation.to_json(),
                "region": None
                if each.annotation.region is None
                else {"voxels": int(each.annotation.region.mask.sum())},
            }
            for each in found
            if (not image or each.annotation.image == image) and caller.sees(teaching.owner_of(each.annotation))
        ]
        return {"head": teaching.annotations.head(), "annotations": notes}

    @router.post(
        "/concepts/query",
        summary=f"{RBAC_USER}Which units answer to a region",
        response_model=QueryReply,
        response_model_exclude_unset=True,
    )
    async def query(body: ConceptQuery, request: Request) -> dict[str, Any]:
        def ask_units() -> dict[str, Any]:
            about = resolve_subject(teaching, body, session, caller_of(request))
            region = make_region(body.region, about)
            look = teaching.activations.look(about.key, lambda: about.found, body.slice_index, patience=QUERY_SECONDS)
            return answer(teaching, look, about.original, region, body.threshold)

        return await threads.run(ask_units, user_of(request))

    @router.get(
        "/concepts",
        summary=f"{RBAC_USER}What has been taught so far",
        response_model=ConceptsReply,
        response_model_exclude_unset=True,
    )
    def concepts(request: Request) -> dict[str, Any]:
        return describe(teaching, caller_of(request))

    @router.post(
        "/concepts/activate",
        summary=f"{RBAC_ADMIN}Use one version of the names",
        response_model=ActivatedReply,
        response_model_exclude_unset=True,
    )
    def activate(body: ActivateBody) -> dict[str, Any]:
        teaching.activate(None if body.version == "latest" else body.version)
        chosen = teaching.versions.get(teaching.versions.chosen)
        return {"active": asdict(chosen) if chosen else "latest"}

    @router.get(
        "/concepts/units",
        summary=f"{RBAC_USER}All units: a map of them, and their names",
        response_model=UnitsReply,
        response_model_exclude_unset=True,
    )
    def units() -> dict[str, Any]:
        table, names = teaching.activations.table, teaching.taught.units if teaching.taught else {}
        if table is None:
            raise NotYetError("The units are still being gathered.", "Ask again in a minute.")
        return {
            "images": table.images,
            "units": [
                {
                    "unit": unit,
                    "place": [round(float(x), 4) for x in place],
                    "name": asdict(names[unit].term) if unit in names else None,
                    "disputed": unit in names and names[unit].disputed,
                    "patches": len(patches),
                }
                for unit, place, patches in zip(table.names, table.places, table.patches, strict=True)
            ],
        }

    @router.get(
        "/concepts/map.png",
        summary=f"{RBAC_USER}The map of units as a picture, some of them ringed",
        response_class=Response,
        responses=binary("image/png"),
    )
    async def unit_map(
        request: Request, mark: Annotated[tuple[str, ...], Query(max_length=MOST_MARKS)] = ()
    ) -> Response:
        table, taught = teaching.activations.table, teaching.taught
        if table is None:
            raise NotYetError("The units are still being gathered.", "Ask again in a minute.")
        names = {unit: name.term.meaning for unit, name in taught.units.items()} if taught else {}
        picture = await drawing.run(lambda: draw_units(table.names, table.places, names, set(mark)), user_of(request))
        return Response(picture, media_type="image/png")

    @router.get(
        "/concepts/units/{layer}/{unit}/patches/{number}.png",
        summary=f"{RBAC_USER}A patch that excites a unit",
        response_class=Response,
        responses=binary("image/png"),
    )
    async def patch(layer: str, unit: str, number: int, request: Request) -> Response:
        picture = await drawing.run(lambda: draw_unit_patch(teaching, f"{layer}/{unit}", number), user_of(request))
        return Response(picture, media_type="image/png")

    @router.get(
        "/concepts/units/{layer}/{unit}/contour.png",
        summary=f"{RBAC_USER}What a unit answers to in an explained image",
        response_class=Response,
        responses=binary("image/png"),
    )
    async def contour(asked: Annotated[UnitInImage, Depends()], request: Request) -> Response:
        def draw() -> bytes:
            index, look, _ = look_at_unit(asked, caller_of(request))
            return draw_contour(look, index, asked.label)

        return Response(await drawing.run(draw, user_of(request)), media_type="image/png")

    @router.get(
        "/concepts/units/{layer}/{unit}/mask.seg.nrrd",
        summary=f"{RBAC_USER}What a unit answers to in an explained image, as a segmentation on the image's grid",
        response_class=Response,
        responses=binary("application/octet-stream"),
    )
    async def mask(asked: Annotated[UnitInImage, Depends()], request: Request) -> Response:
        def write() -> bytes:
            index, look, image = look_at_unit(asked, caller_of(request))
            return unit_segmentation(look, index, asked.name, asked.label, image)

        return Response(await drawing.run(write, user_of(request)), media_type="application/octet-stream")

    def look_at_unit(asked: UnitInImage, caller: Caller) -> tuple[int, ImageActivations, Image]:
        """Return a unit's place in the table, an explained image as units see it, and the image."""
        reference = SubjectReference(image="", session="", explanation=asked.explanation, slice_index=None)
        about = resolve_subject(teaching, reference, session, caller)
        index = unit_index(teaching.activations.table, asked.name)
        look = teaching.activations.look(about.key, lambda: about.found, patience=QUERY_SECONDS)
        return index, look, about.original

    @router.get(
        "/concepts/questions",
        summary=f"{RBAC_USER}What would help most to be named",
        response_model=QuestionsReply,
        response_model_exclude_unset=True,
    )
    def questions(
        request: Request,
        strategy: str = "mixed",
        count: int = Query(1, ge=1, le=MOST_QUESTIONS),
        seed: int = Query(0, ge=0),
    ) -> dict[str, Any]:
        return {"questions": ask(teaching, strategy, count, seed, caller_of(request))}

    @router.get(
        "/concepts/search",
        summary=f"{RBAC_USER}Regions that show a term",
        response_model=SearchReply,
        response_model_exclude_unset=True,
    )
    async def search(
        request: Request,
        scheme: str = Query("", max_length=16),
        code: str = Query("", max_length=64),
        words: str = Query("", max_length=64),
        count: int = Query(50, ge=1, le=MOST_FOUND),
    ) -> dict[str, Any]:
        caller = caller_of(request)
        return await threads.run(
            lambda: regions_of_term(teaching, scheme, code, words, count, caller), user_of(request)
        )

    @router.get(
        "/concepts/similar",
        summary=f"{RBAC_USER}Regions that look alike",
        response_model=SimilarReply,
        response_model_exclude_unset=True,
    )
    async def similar(
        request: Request,
        explanation: str = Query(max_length=128),
        label: int = Query(ge=1, le=255),
        count: int = Query(6, ge=1, le=MOST_FOUND),
    ) -> dict[str, Any]:
        caller = caller_of(request)
        found = await threads.run(
            lambda: similar_regions(teaching, explanation, label, count, caller), user_of(request)
        )
        return {"regions": found}

    @router.get(
        "/concepts/table.csv",
        summary=f"{RBAC_USER}All findings of all images as a table",
        response_class=Response,
        responses=binary("text/csv"),
    )
    async def table(request: Request) -> Response:
        caller = caller_of(request)
        text = await drawing.run(lambda: findings_table(teaching, caller), user_of(request))
        return Response(text, media_type="text/csv", headers={"X-Content-Type-Options": "nosniff"})

    return router


def train_router(teaching: TeachingService, route: type[APIRoute]) -> APIRouter:
    """Make the route ``/train/concepts``, in the form of MONAI Label's own ``/train/{model}``.

    Names are learned by themselves after each word, here and not in a process of its own; asking for it does no harm.
    """
    router = APIRouter(tags=["Train"], route_class=route)

    @router.post(
        "/train/concepts",
        summary=f"{RBAC_ADMIN}Learn names from everything that was said",
        response_model=LearningReply,
        response_model_exclude_unset=True,
    )
    def train() -> dict[str, Any]:
        teaching.wake()
        done = teaching.settled(LEARNING_SECONDS)
        version = teaching.taught.version if teaching.taught else None
        return {"status": "DONE" if done else "RUNNING", "request": {"model": "concepts"}, "version": version}

    return router


def _without_voxels(note: Annotation) -> dict[str, Any]:
    region = None if note.region is None else {"voxels": int(note.region.mask.sum())}
    return {**note.to_json(), "region": region}
