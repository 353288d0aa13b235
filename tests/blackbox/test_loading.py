"""Classifiers are found by folder or by shipped name, in a checkout as in an installed wheel."""

import shutil

import numpy as np
import pytest

from otherwise import resources
from otherwise.blackbox.loading import find_bundle, load_classifier
from otherwise.errors import BundleError


@pytest.fixture(params=["wheel", "checkout"])
def shipped(request, make_bundle, tmp_path, monkeypatch):
    """A package that ships the tiny classifier, laid out in both ways."""
    package = tmp_path / "models" / "otherwise"
    bundles = package / "_bundles" if request.param == "wheel" else tmp_path / "models" / "bundles"
    app = package / "_app" if request.param == "wheel" else tmp_path / "monailabel_app"
    for folder in (package, app):
        folder.mkdir(parents=True)
    shutil.copytree(make_bundle().folder, bundles / "tiny_classifier")
    (bundles / "notes").mkdir()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.app_folder() == app
    return bundles


def test_a_shipped_bundle_is_found_by_name(shipped, images, tiny):
    assert resources.shipped_bundles() == ("tiny_classifier",)
    assert find_bundle("tiny_classifier") == shipped / "tiny_classifier"
    np.testing.assert_allclose(load_classifier("tiny_classifier").predict(images), tiny.answers(images), atol=1e-5)


@pytest.mark.parametrize("name", ["other", "notes", "..", "../bundles/tiny_classifier", ""])
def test_other_names_are_refused_and_known_ones_listed(shipped, name):
    with pytest.raises(BundleError, match=r"no bundle .*\(tiny_classifier\)"):
        resources.shipped_bundle(name)


def test_this_checkout_holds_the_app_folder():
    assert resources.app_folder().name in ("monailabel_app", "_app")
    assert resources.app_folder().is_dir()


def test_a_callable_may_come_from_the_bundles_own_scripts(make_bundle, images):
    bundle = make_bundle(None, own={"callable": "scripts.model:halves"}, activation="none")
    (bundle.folder / "scripts").mkdir()
    (bundle.folder / "scripts" / "model.py").write_text(
        "import numpy as np\n\ndef halves(x):\n    return np.full((len(x), 2), 0.5)\n", encoding="utf-8"
    )
    with pytest.raises(BundleError, match="--trust-code"):
        load_classifier(bundle.folder)
    assert (load_classifier(bundle.folder, trust_code=True).predict(images) == 0.5).all()
