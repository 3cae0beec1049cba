"""Each config prepares and predicts an image in one way, whichever program asks.

The models are shrunk, for those of the configs would take minutes each.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config, DictAction
from mmseg.apis import inference_model, init_model
from PIL import Image

from mmsegmentation.classes import CLASSES, PALETTE
from mmsegmentation.fold_config import leaves_of
from mmsegmentation.predictions import open_predictions
from mmsegmentation.runtime import quiet
from tools import test

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.glob('configs/**/*.py'))
HEADS = {
    'model.decode_head.channels': '8',
    'model.auxiliary_head.channels': '8',
    'model.backbone.init_cfg': 'None',
    'model.backbone.drop_path_rate': '0',
}
SMALL = {
    'ConvNeXt': {
        'model.backbone.arch': 'atto',
        'model.decode_head.in_channels': '[40,80,160,320]',
        'model.auxiliary_head.in_channels': '160',
        **HEADS,
    },
    'FastBEiT': {
        'model.backbone.embed_dims': '32',
        'model.backbone.num_layers': '4',
        'model.backbone.num_heads': '2',
        'model.backbone.out_indices': '(0,1,2,3)',
        'model.neck.embed_dim': '32',
        'model.decode_head.in_channels': '[32,32,32,32]',
        'model.auxiliary_head.in_channels': '32',
        **HEADS,
    },
}

# The view of test-time augmentation that is an image as it is tested without.
ONE_VIEW = """
_base_ = {base!r}
{change}
_load, _views = _base_.tta_pipeline
_scales, _flips, *_rest = _views.transforms
_plain = [step for step in _scales if step in _base_.test_pipeline]
_views = dict(type='TestTimeAug', transforms=[_plain, _flips[:1], *_rest])
tta_pipeline = [_load, _views]
"""
MEAN = 'dict(mean=[127.0, 127.0, 127.0], std=[128.0, 128.0, 128.0])'
# What a child may change that its base has given a name.
CHANGES = {
    'normalisation': f'model = dict(data_preprocessor={MEAN})',
    'name-of-another-normalisation': f'data_preprocessor = {MEAN}',
    'norm': """
norm_cfg = dict(type='GN', num_groups=2)
model = dict(
    decode_head=dict(norm_cfg=norm_cfg), auxiliary_head=dict(norm_cfg=norm_cfg)
)
""",
    'crop': """
crop_size = (64, 64)
model = dict(test_cfg=dict(mode='slide', crop_size=crop_size, stride=(32, 32)))
""",
}

each_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)


@pytest.fixture(scope='module', autouse=True)
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Draw two images of different shape, neither of a size that a model works at."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for name, size in (('a/0001.png', (90, 110)), ('b/0001.png', (70, 60))):
        path = root / 'test/images' / name
        path.parent.mkdir(parents=True)
        coarse = rng.integers(0, 256, (size[0] // 10, size[1] // 10, 3), np.uint8)
        Image.fromarray(coarse.repeat(10, 0).repeat(10, 1)).save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('RECYCLE_DATA', str(root))
        yield root


def read(path: Path) -> Config:
    return Config.fromfile(ROOT / path, import_custom_modules=False)


def options_of(cfg: Config) -> dict[str, str]:
    return SMALL[cfg.model.backbone.type]


def parsed(cfg: Config) -> dict[str, Any]:
    return {k: DictAction._parse_iterable(v) for k, v in options_of(cfg).items()}


def what_predicts(cfg: Config) -> str:
    """Return the text of what a prediction depends on: equal for most children."""
    cfg.merge_from_dict(parsed(cfg))
    model = cfg.model.to_dict()
    for head in ('decode_head', 'auxiliary_head'):
        del model[head]['loss_decode']
    parts = {
        key: cfg.get(key)
        for key in ('data_preprocessor', 'test_pipeline', 'tta_pipeline')
    }
    return json.dumps([model, cfg.test_dataloader, parts], sort_keys=True)


@cache
def first_of_each() -> dict[str, Path]:
    """Return the first config of those that predict alike, for each."""
    return {what_predicts(read(path)): path for path in reversed(CONFIGS)}


class Way:
    """A config's shrunk model with random weights, and the ways to predict with it."""

    def __init__(self, config: Path, folder: Path, root: Path) -> None:
        self.config, self.folder, self.root = config, folder, root
        cfg = Config.fromfile(config, import_custom_modules=False)
        self.options, self.parsed = options_of(cfg), parsed(cfg)
        self.checkpoint = folder / 'model.pth'
        torch.manual_seed(0)
        with quiet():
            model = init_model(str(config), device='cpu', cfg_options=self.parsed)
        torch.nn.init.normal_(model.decode_head.conv_seg.weight)
        meta = {'dataset_meta': {'classes': CLASSES, 'palette': PALETTE}}
        content = {'state_dict': model.state_dict(), 'meta': meta}
        torch.save(content, self.checkpoint)

    def by_command(self, *options: str, config: Path | None = None) -> list[np.ndarray]:
        out = self.folder / 'pred'
        pairs = [f'{key}={value}' for key, value in self.options.items()]
        arguments = [config or self.config, self.checkpoint, '--out', out]
        arguments += ['--split', 'test', '--overwrite', *options]
        test.main([*map(str, arguments), '--cfg-options', *pairs])
        found = open_predictions(out)
        self.image_ids = list(found.image_ids)
        return [found.mask(image_id) for image_id in self.image_ids]

    def by_mmseg(self) -> list[np.ndarray]:
        arguments = str(self.config), str(self.checkpoint), 'cpu', self.parsed
        with quiet():
            model = init_model(*arguments)
        paths = [str(self.root / 'test/images' / name) for name in self.image_ids]
        return [
            inference_model(model, path).pred_sem_seg.data[0].numpy() for path in paths
        ]


def assert_equal(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    assert len(found) == len(wanted) == 2
    for one, other in zip(found, wanted, strict=True):
        assert len(np.unique(other)) > 2  # else any two would be alike
        np.testing.assert_array_equal(one, other)


def child_of(path: Path, folder: Path, change: str = '') -> Path:
    child = folder / f'{path.stem}.py'
    child.write_text(ONE_VIEW.format(base=str(ROOT / path), change=change))
    return child


@cache
def compare(path: Path, folder: Path, root: Path) -> None:
    way = Way(ROOT / path, folder, root)
    plain = way.by_command()
    assert_equal(plain, way.by_mmseg())
    child = child_of(path, folder)
    assert_equal(way.by_command('--tta', config=child), plain)


def test_configs__are_found() -> None:
    assert len(CONFIGS) > 50


@each_config
def test_config__loaders_use_the_pipelines_that_it_names(path: Path) -> None:
    cfg = read(path)
    train = cfg.train_dataloader.dataset
    assert cfg.train_pipeline == train.pipeline
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    if not cfg.get('trains_on_validation'):
        assert cfg.test_pipeline == cfg.val_dataloader.dataset.pipeline
    leaves = list(leaves_of(train))
    assert cfg.train_set in leaves
    assert cfg.pseudo_set in leaves or '-pseudo-' not in path.name
    assert cfg.pseudo_set == dict(
        cfg.train_set,
        data_prefix=dict(img_path='pseudo/images', seg_map_path='pseudo/mask'),
        pipeline=cfg.pseudo_set.pipeline,
    )
    if '-soft-' not in path.name:
        assert cfg.pseudo_set.pipeline == cfg.train_set.pipeline


@each_config
def test_config__names_nothing_twice(path: Path) -> None:
    names = list(read(path))
    assert [name for name in names if f'_{name}' in names] == []


@each_config
def test_config__mmseg_our_command_and_one_view_predict_the_same(
    path: Path, data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    same = first_of_each()[what_predicts(read(path))]
    compare(same, tmp_path_factory.getbasetemp(), data_root)


@pytest.mark.parametrize('change', CHANGES)
def test_child__one_view_predicts_as_without_augmentation(
    change: str, data_root: Path, tmp_path: Path
) -> None:
    path = next(p for p in CONFIGS if p.match('small/*convnext*'))
    child = child_of(path, tmp_path, CHANGES[change])
    way = Way(child, tmp_path, data_root)
    plain = way.by_command()
    assert_equal(way.by_command('--tta'), plain)
    assert_equal(way.by_mmseg(), plain)


def test_configs__give_their_preprocessor_no_second_name() -> None:
    # MMEngine would put it around a model that has its own.
    assert [path for path in CONFIGS if 'data_preprocessor' in read(path)] == []
