"""What the records say is what torchvision and timm say, and what the networks are."""

from typing import Any

import pytest
from timm import get_pretrained_cfg
from timm.models._registry import get_arch_pretrained_cfgs
from torchvision.models import get_model_weights

import flaxblocks as fb
from flaxblocks.cli.networks import cost, count, image_shape
from flaxblocks.models import ModelRecord, PublishedWeights, facts
from tests.helpers.networks import abstract
from tests.helpers.typed import present
from tests.helpers.weight_files import ARCHITECTURE

TORCHVISION = [n for n in fb.list_models() if fb.model_info(n).source == "torchvision"]
TIMM = [n for n in fb.list_models() if fb.model_info(n).source == "timm"]
QUICK = (
    "resnet18",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "timm/test_efficientnet",
    "timm/test_resnet",
    "timm/test_convnext",
)


def torchvisions(weights) -> PublishedWeights:
    preset, meta = weights.transforms(), weights.meta
    if "COCO-val2017-VOC-labels" in meta["_metrics"]:
        (resize,), found = preset.resize_size, meta["_metrics"]["COCO-val2017-VOC-labels"]
        whole = fb.Preprocess(resize, resize, preset.interpolation.value, whole=True)
        assert (tuple(preset.mean), tuple(preset.std)) == (whole.mean, whole.std)
        return PublishedWeights(
            weights.name,
            weights.url,
            whole,
            len(meta["categories"]),
            mean_iou=found["miou"],
            pixel_accuracy=found["pixel_acc"],
        )
    (resize,), (crop,) = preset.resize_size, preset.crop_size
    # With weights these two networks turn their images into those of a mean and deviation of 0.5.
    if weights.name == "IMAGENET1K_V1" and "google" in weights.url:
        preset.mean = preset.std = [0.5, 0.5, 0.5]
    accuracy = meta["_metrics"]["ImageNet-1K"]
    (r, g, b), (r_std, g_std, b_std) = preset.mean, preset.std
    return PublishedWeights(
        weights.name,
        weights.url,
        fb.Preprocess(resize, crop, preset.interpolation.value, (r, g, b), (r_std, g_std, b_std)),
        len(meta["categories"]),
        meta.get("license"),
        accuracy["acc@1"],
        accuracy["acc@5"],
    )


@pytest.mark.parametrize("name", TORCHVISION)
def test_every_row_is_torchvisions(name: str):
    record = fb.model_info(name)
    every = get_model_weights(name)
    theirs = [weights for weights in every if weights.meta["categories"]]  # VGG16 has a trunk alone
    assert {w.tag: w for w in record.weights} == {w.name: torchvisions(w) for w in theirs}
    assert record.published() == torchvisions(every["DEFAULT"])
    assert record.preprocess == record.published().preprocess
    # torchvision counts GoogLeNet without its auxiliary classifiers, InceptionV3 with them.
    others = 6_379_984 if name == "googlenet" else 0
    counts = {weights.meta["num_params"] for weights in theirs}
    assert {record.parameters} == {count + others for count in counts}


def test_every_row_is_timms():
    for name in TIMM:
        record = fb.model_info(name)
        configs = get_arch_pretrained_cfgs(record.name_at_source)
        theirs = {c.tag: c for c in configs.values() if c.has_weights}
        assert [w.tag for w in record.weights] == list(theirs), name
        for weights in record.weights:
            config = theirs[weights.tag]
            on_hub = f"hf-hub:{config.hf_hub_id}"
            assert weights.source == (on_hub if config.hf_hub_id else config.url), name
            assert weights.num_classes == config.num_classes
            assert weights.license == config.license
            assert weights.preprocess == fb.Preprocess.from_timm(config.to_dict())
        default = present(get_pretrained_cfg(record.name_at_source))
        assert record.preprocess == fb.Preprocess.from_timm(default.to_dict()), name
        assert not record.weights or present(record.published()).tag == default.tag


def test_weights_for_imagenet_have_their_accuracy_and_no_others():
    for name in TORCHVISION + TIMM:
        for weights in fb.model_info(name).weights:
            if weights.num_classes == 1000:
                assert 40 < present(weights.top1) < present(weights.top5) < 100, name
            else:
                assert weights.top1 is weights.top5 is None


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
        for name in TORCHVISION + TIMM
    ],
)
def test_the_counts_are_the_networks(name: str):
    record, network = fb.model_info(name), abstract(name)
    assert record.parameters == count(network)
    assert record.multiply_adds == cost(network, image_shape(network, record.input_size))


def test_every_network_has_a_paper():
    assert all(fb.model_info(name).paper for name in TORCHVISION + TIMM)


@pytest.mark.parametrize(("source", "names"), [("torchvision", TORCHVISION), ("timm", TIMM)])
def test_every_architecture_has_its_facts_and_no_others_are_there(source: str, names: list[str]):
    table = facts.read(source)
    assert sorted(table) == sorted(names)
    assert all(row["parameters"] and row["multiply_adds"] for row in table.values())


def test_a_record_prints_as_a_page():
    text = str(fb.model_info("timm/convnext_nano"))
    assert text.splitlines()[0] == "timm/convnext_nano  (timm, Liu et al. 2022)"
    assert "15,593,560 parameters" in text
    assert any(line.split()[:3] == ["in12k", "224", "pixels"] for line in text.splitlines())
    assert "Architecture" not in text


def test_those_with_weights_can_be_listed():
    with_weights = set(fb.list_models("timm/*", weights=True))
    assert with_weights < set(TIMM)
    assert {n for n in TIMM if fb.model_info(n).weights} == with_weights
    assert fb.list_models("resnet1?", weights=True) == ["resnet18"]


def test_a_network_of_ones_own_is_listed_and_can_be_replaced():
    for drop_rate in (0.0, 0.5):
        fb.register_model(ModelRecord("mine", ARCHITECTURE, paper=f"{drop_rate}"))
    assert fb.list_models("mi*") == ["mine"]
    assert fb.list_models("mi*", weights=True) == []
    assert fb.model_info("mine").paper == "0.5"
    assert fb.create_preprocess("mine") == fb.Preprocess(256, 224)


def test_what_cannot_be_registered_is_refused(as_installed):
    with pytest.raises(ValueError, match="a name of its own, 'resnet18' is taken"):
        fb.register_model(ModelRecord("resnet18", ARCHITECTURE))
    with pytest.raises(TypeError, match="`record` must be a ModelRecord, got Architecture"):
        wrong: Any = ARCHITECTURE
        fb.register_model(wrong)
    assert fb.list_models("mine") == []
