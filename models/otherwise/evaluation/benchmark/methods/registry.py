"""The methods that a benchmark compares: one line each, in the order of the tables.

The baselines that make counterfactuals get our agent's encoder, student and decoder, so that only the way of moving
differs: their figures say how good that way is, not how good their authors' networks are. No map is given more than
about a thousand queries, which is what a user would wait for.
"""

from __future__ import annotations

from collections.abc import Callable

from otherwise.attribution.methods import METHODS, Method
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.methods.centre import nearness_to_centre
from otherwise.evaluation.benchmark.methods.global_direction import global_directions
from otherwise.evaluation.benchmark.methods.kernel_shap import kernel_shap
from otherwise.evaluation.benchmark.methods.method import EditMethod, MapMethod, ReferenceImages
from otherwise.evaluation.benchmark.methods.monai_maps import grad_cam_plus, monai_occlusion
from otherwise.evaluation.benchmark.methods.nearest_unlike import nearest_neighbours
from otherwise.evaluation.benchmark.methods.own_search import own_methods
from otherwise.evaluation.benchmark.methods.rex import rex
from otherwise.evaluation.benchmark.methods.straight_move import straight_moves
from otherwise.evaluation.benchmark.methods.xaitk_maps import rise, sliding_window


def _attribution(method: Method) -> MapMethod:
    """Return one of the methods that users also meet in Slicer."""
    return MapMethod(method.name, method.title, method.source, method, method.suits)


def _is_flat(classifier: BlackBox) -> bool:
    return classifier.inputs.spatial_dims == 2


def _has_layers(classifier: BlackBox) -> bool:
    return next(method for method in METHODS if method.name == "grad-cam").suits(classifier)


MAP_METHODS: tuple[MapMethod, ...] = (
    *(_attribution(method) for method in METHODS),
    MapMethod("rise", "RISE", "Petsiuk et al., arXiv 1806.07421; xaitk-saliency", rise, _is_flat),
    MapMethod("sliding-window", "Sliding window", "xaitk-saliency", sliding_window, _is_flat),
    MapMethod("rex", "ReX", "Chockler et al., arXiv 2411.08875; rex-xai", rex, _is_flat, slow=True),
    MapMethod("occlusion-monai", "Occlusion (MONAI)", "Zeiler & Fergus, arXiv 1311.2901; MONAI", monai_occlusion),
    MapMethod("kernel-shap", "KernelSHAP", "Lundberg & Lee, arXiv 1705.07874; Captum", kernel_shap),
    MapMethod("grad-cam++", "Grad-CAM++", "Chattopadhay et al., arXiv 1710.11063; MONAI", grad_cam_plus, _has_layers),
    MapMethod("centre", "Nearness to the centre", "a control", nearness_to_centre, control=True),
)

EDIT_METHODS: tuple[Callable[[ReferenceImages], tuple[EditMethod, ...]], ...] = (
    own_methods,
    straight_moves,
    global_directions,
    nearest_neighbours,
)
"""Each makes new methods for a comparison, since some remember what they found on earlier images."""


def edit_methods(references: ReferenceImages) -> tuple[EditMethod, ...]:
    """Return new methods for one comparison."""
    return tuple(method for make in EDIT_METHODS for method in make(references))
