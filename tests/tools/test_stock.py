"""Stock MMSegmentation and this repository: each works with the parts of the other.

What is stock runs in a process of its own, by MMSegmentation's own train.py and its
inference functions, on the configs that it ships. They are changed in size alone, and
where they ask for a GPU or a download.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch

from mmsegmentation.classes import CLASSES
from mmsegmentation.predictions import open_predictions
from tools import test, train

ROOT = Path(__file__).resolve().parents[2]
STOCK = Path(mmseg.__file__).parent / '.mim'
OURS = {
    'beit': 'upernet_beit-mini_1xb8-copypaste-360it_drawn-128x128.py',
    'convnext': 'upernet_convnext-mini_1xb8-cutmix-360it_drawn-128x128.py',
}
BASES = {
    'beit': 'beit/beit-base_upernet_8xb2-160k_ade20k-640x640.py',
    'convnext': 'convnext/convnext-tiny_upernet_8xb2-amp-160k_ade20k-512x512.py',
}
# The sizes of our two configs. SyncBN and AmpOptimWrapper refuse the CPU.
SIZES = {
    'beit': """
model = dict(
    pretrained=None,
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        img_size=(128, 128), patch_size=8, embed_dims=96, num_layers=4, num_heads=3,
        out_indices=(0, 1, 2, 3), drop_path_rate=0.0, init_values=1.0,
    ),
    neck=dict(embed_dim=96, rescales=[2, 1, 0.5, 0.25], norm_cfg=dict(type='BN')),
    decode_head=dict(in_channels=[96] * 4, channels=32, **head),
    auxiliary_head=dict(in_channels=96, channels=32, **head),
    test_cfg=dict(_delete_=True, mode='whole'),
)
""",
    'convnext': """
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(_delete_=True, depths=[1, 1, 3, 1], channels=[32, 64, 128, 192]),
        drop_path_rate=0.0, init_cfg=None,
    ),
    decode_head=dict(in_channels=[32, 64, 128, 192], channels=48, **head),
    auxiliary_head=dict(in_channels=128, channels=32, **head),
    test_cfg=dict(_delete_=True, mode='whole'),
)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='LearningRateDecayOptimizerConstructor',
    paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise', num_layers=6),
)
""",
}
ONE_STEP = """
_base_ = {base!r}
head = dict(num_classes=11, norm_cfg=dict(type='BN'))
train_cfg = dict(max_iters=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=1))
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=False),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
load = [test_pipeline[0], test_pipeline[2], test_pipeline[1]]
loader = dict(num_workers=0, persistent_workers=False)
"""
OUR_DATA = """
data = dict(_delete_=True, type='RecycleDataset', data_root={root!r})
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='MultiImageMixDataset',
        dataset=dict(
            type='RecycleDataset',
            data_root={root!r},
            data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
            pipeline=load,
        ),
        pipeline=[
            dict(type='RandomCutMix', prob=1.0, patch_scale=(64, 64)),
            dict(type='CopyPaste', prob=1.0, mode='all', patch_scale_ratio=0.75),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PhotoMetricDistortion'),
            dict(type='PackSegInputs'),
        ],
    ),
    **loader,
)
"""
STOCK_DATA = """
data = dict(
    _delete_=True,
    type='BaseSegDataset',
    data_root={root!r},
    img_suffix='.png',
    seg_map_suffix='.png',
    metainfo=dict(classes={classes!r}, palette=[[i, i, i] for i in range(11)]),
)
train_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
        pipeline=[*load, test_pipeline[3]],
        **data,
    ),
    **loader,
)
"""
VALID = """
val_dataloader = dict(
    dataset=dict(
        data_prefix=dict(img_path='valid/images', seg_map_path='valid/mask'),
        pipeline=test_pipeline,
        **data,
    ),
    **loader,
)
test_dataloader = val_dataloader
"""
# Our ConvNeXt in the place of mmpretrain's: the import and the name.
OUR_IMPORTS = """
custom_imports = dict(
    imports=['mmsegmentation.datasets', 'mmsegmentation.models'],
    allow_failed_imports=False,
)
"""
OUR_CONVNEXT = "model['backbone']['type'] = 'ConvNeXt'\n"
PREDICT = """
import sys
import numpy as np
from mmseg.apis import inference_model, init_model
config, checkpoint, out, *images = sys.argv[1:]
model = init_model(config, checkpoint, device='cpu')
found = [inference_model(model, image) for image in images]
assert 'mmsegmentation' not in sys.modules
np.savez(
    out,
    label_maps=[one.pred_sem_seg.data[0].numpy() for one in found],
    probabilities=[one.seg_logits.data.softmax(0).amax(0).numpy() for one in found],
)
"""


# A config of classes: no type is named, and no scope is set.
PURE = """
from mmcv.transforms import LoadImageFromFile, Resize
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import OptimWrapper, PolyLR
from mmengine.runner import IterBasedTrainLoop, TestLoop, ValLoop
from mmseg.datasets import BaseSegDataset
from mmseg.datasets.transforms import LoadAnnotations, PackSegInputs, RandomCrop
from mmseg.evaluation import IoUMetric
from mmseg.models import EncoderDecoder, SegDataPreProcessor
from mmseg.models.backbones import ResNetV1c
from mmseg.models.decode_heads import FCNHead
from mmseg.models.losses import CrossEntropyLoss
from torch.nn import BatchNorm2d
from torch.optim import SGD

norm_cfg = dict(type=BatchNorm2d)
model = dict(
    type=EncoderDecoder,
    data_preprocessor=dict(
        type=SegDataPreProcessor, mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375], bgr_to_rgb=True, pad_val=0, seg_pad_val=255,
        size=(64, 64),
    ),
    backbone=dict(
        type=ResNetV1c, depth=18, stem_channels=8, base_channels=8,
        out_indices=(0, 1, 2, 3), strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4),
        norm_cfg=norm_cfg, contract_dilation=True,
    ),
    decode_head=dict(
        type=FCNHead, in_channels=64, in_index=3, channels=8, num_convs=1,
        num_classes=11, norm_cfg=norm_cfg, align_corners=False,
        loss_decode=dict(type=CrossEntropyLoss),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)
train_pipeline = [
    dict(type=LoadImageFromFile), dict(type=LoadAnnotations),
    dict(type=RandomCrop, crop_size=(64, 64)), dict(type=PackSegInputs),
]
test_pipeline = [
    dict(type=LoadImageFromFile), dict(type=Resize, scale=(128, 96)),
    dict(type=LoadAnnotations), dict(type=PackSegInputs),
]
data = dict(
    type=BaseSegDataset, data_root={root!r}, img_suffix='.png', seg_map_suffix='.png',
    metainfo=dict(classes={names!r}, palette=[[i, i, i] for i in range(11)]),
)
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type=InfiniteSampler, shuffle=True),
    dataset=dict(
        data, data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1, num_workers=0, sampler=dict(type=DefaultSampler, shuffle=False),
    dataset=dict(
        data, data_prefix=dict(img_path='valid/images', seg_map_path='valid/mask'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type=IoUMetric)
test_evaluator = val_evaluator
optim_wrapper = dict(type=OptimWrapper, optimizer=dict(type=SGD, lr=0.01))
param_scheduler = [dict(type=PolyLR, power=0.9, begin=0, end=2, by_epoch=False)]
train_cfg = dict(type=IterBasedTrainLoop, max_iters=2, val_interval=1)
val_cfg = dict(type=ValLoop)
test_cfg = dict(type=TestLoop)
default_hooks = dict(
    logger=dict(type=LoggerHook, log_metric_by_epoch=False),
    checkpoint=dict(type=CheckpointHook, by_epoch=False, interval=1),
)
log_processor = dict(by_epoch=False)
"""
PURE_CHILD = """
import math

from mmengine.config import read_base
from torch.optim import AdamW

with read_base():
    from .base import *

optim_wrapper.update(optimizer=dict(type=AdamW))
rate = math.sqrt(1e-4)
optim_wrapper['optimizer']['lr'] = rate
"""


def stock(*command: object) -> None:
    """Run a stock command, which must succeed, without our commands' own settings."""
    ours = 'TORCH_FORCE_WEIGHTS_ONLY_LOAD'
    env = {key: value for key, value in os.environ.items() if key != ours}
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        env={**env, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture
def stock_config(shared_data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a child of a shipped config; ``ours`` puts our parts into it."""

    def write(model: str, ours: bool) -> Path:
        base = STOCK / 'configs' / BASES[model]
        text = ONE_STEP + SIZES[model] + (OUR_DATA if ours else STOCK_DATA) + VALID
        text = text.format(base=str(base), root=str(shared_data), classes=CLASSES)
        if ours:
            text += OUR_IMPORTS + (OUR_CONVNEXT if model == 'convnext' else '')
        path = tmp_path / f'stock_{model}.py'
        path.write_text(text)
        return path

    return write


@pytest.fixture
def peer() -> None:
    """Skip where mmpretrain, which stock configs take ConvNeXt from, is not there.

    Where transformers is too new it does not import either.
    """
    try:
        import mmpretrain.models  # noqa: F401
    except (ImportError, TypeError):
        pytest.skip('mmpretrain cannot be imported')


def predict_both(
    config: Path, our_config: str, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    """Compare what stock and we predict with one checkpoint: labels and confidence."""
    out = tmp_path / 'pred'
    test.main([our_config, str(checkpoint), '--out', str(out)])
    predictions = open_predictions(out)
    images = [data / 'valid/images' / name for name in predictions.image_ids]
    assert len(images) == 3
    stock('-c', PREDICT, config, checkpoint, tmp_path / 'stock.npz', *images)
    with np.load(tmp_path / 'stock.npz') as theirs:
        label_maps, sure = theirs['label_maps'], theirs['probabilities']
    ours = np.stack([predictions.mask(name) for name in predictions.image_ids])
    np.testing.assert_array_equal(ours, label_maps)
    ours = np.stack([predictions.confidence(name) for name in predictions.image_ids])
    np.testing.assert_allclose(ours, 255 * sure, rtol=0, atol=0.51)
    assert np.ptp(ours) > 3  # not one answer for all


@pytest.mark.slow
@pytest.mark.parametrize('model', BASES)
def test_stock_config__trains_a_step_with_our_parts(stock_config, tmp_path, model):
    config, work_dir = stock_config(model, ours=True), tmp_path / 'work'
    stock(STOCK / 'tools/train.py', config, '--work-dir', work_dir)
    scalars = next(work_dir.glob('*/vis_data/scalars.json')).read_text()
    records = [json.loads(line) for line in scalars.splitlines()]
    losses = [record['loss'] for record in records if 'loss' in record]
    assert len(losses) == 1
    assert 0 < losses[0] < math.inf
    assert 0 <= records[-1]['mIoU'] <= 100
    content = torch.load(work_dir / 'iter_1.pth', weights_only=False)
    assert content['meta']['dataset_meta']['classes'] == CLASSES
    assert {int(state['step']) for state in content['optimizer']['state'].values()} == {
        1
    }


@pytest.mark.slow
def test_stock_config__trains_by_our_command_with_progress_best_and_guards(
    stock_config, run, tmp_path
):
    config, work_dir = stock_config('beit', ours=False), tmp_path / 'w'
    code, out, err = run(train.main, config, '--work-dir', work_dir)
    assert code == 0, err
    assert 'no training mask has these classes: Metal' in err
    assert re.search(r'^ +1/1  loss \d\.\d{4}  lr .* left 0:00:00$', err, re.M)
    score = re.search(r'^  valid .*mIoU (0\.\d{4}).*\(best\)$', err, re.M).group(1)
    best = work_dir / 'best_mIoU_iter_1.pth'
    assert out.splitlines()[-1] == f'best: {best}  mIoU {score}'
    assert best.is_file()
    code, out, err = run(test.main, config, best, '--out', tmp_path / 'pred')
    assert code == 0, err
    assert f'mIoU {score}' in out


@pytest.mark.slow
def test_pure_python_config__trains_and_is_written_with_names_that_stock_reads(
    shared_data, run, tmp_path
):
    (tmp_path / 'base.py').write_text(PURE.format(root=str(shared_data), names=CLASSES))
    config, work_dir = tmp_path / 'child.py', tmp_path / 'w'
    config.write_text(PURE_CHILD)
    code, _, err = run(train.main, config, '--work-dir', work_dir)
    assert code == 0, err
    assert 'no training mask has these classes: Metal' in err
    assert '  valid ' in err
    (best,) = work_dir.glob('best_mIoU_iter_*.pth')
    out = tmp_path / 'pred'
    code, _, err = run(test.main, config, best, '--out', out)
    assert code == 0, err
    predictions = open_predictions(out)
    images = [shared_data / 'valid/images' / name for name in predictions.image_ids]
    # As the run wrote it: inference_model looks for LoadAnnotations by its name.
    written = work_dir / 'child.py'
    stock('-c', PREDICT, written, best, tmp_path / 'stock.npz', *images)
    ours = np.stack([predictions.mask(name) for name in predictions.image_ids])
    with np.load(tmp_path / 'stock.npz') as theirs:
        np.testing.assert_array_equal(ours, theirs['label_maps'])


@pytest.mark.slow
def test_our_checkpoint__of_the_beit_gives_stock_the_same_labels(
    stock_config, write_config, shared_data, tmp_path
):
    # The class of the large configs, which is ours; stock has its own BEiT.
    more = "model = dict(backbone=dict(type='FastBEiT'))\n"
    config = write_config(OURS['beit'], more, 'unilm')
    train.main([config, '--work-dir', str(tmp_path / 'work')])
    checkpoint = tmp_path / 'work/iter_4.pth'
    theirs = stock_config('beit', ours=False)
    predict_both(theirs, config, checkpoint, shared_data, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_our_checkpoint__of_the_convnext_gives_mmpretrain_the_same_labels(
    peer, stock_config, trained, shared_data, tmp_path
):
    config, work_dir = trained
    theirs = stock_config('convnext', ours=False)
    predict_both(theirs, config, work_dir / 'iter_4.pth', shared_data, tmp_path)


@pytest.mark.slow
def test_stock_checkpoint__of_a_beit_gives_us_the_same_labels(
    stock_config, write_config, shared_data, tmp_path
):
    theirs, work_dir = stock_config('beit', ours=False), tmp_path / 'work'
    stock(STOCK / 'tools/train.py', theirs, '--work-dir', work_dir)
    more = "model = dict(backbone=dict(type='FastBEiT'))\n"
    config = write_config(OURS['beit'], more, 'unilm')
    predict_both(theirs, config, work_dir / 'iter_1.pth', shared_data, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')
def test_stock_checkpoint__of_mmpretrains_convnext_gives_us_the_same_labels(
    peer, stock_config, write_config, shared_data, tmp_path
):
    theirs, work_dir = stock_config('convnext', ours=False), tmp_path / 'work'
    stock(STOCK / 'tools/train.py', theirs, '--work-dir', work_dir)
    config = write_config(OURS['convnext'], name='ours')
    predict_both(theirs, config, work_dir / 'iter_1.pth', shared_data, tmp_path)
