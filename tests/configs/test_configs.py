"""Each config is read, and all that it names is built and tried; nothing is trained."""

import ast
import json
from collections.abc import Iterator
from functools import cache
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import AmpOptimWrapper, build_optim_wrapper
from mmseg.registry import DATASETS, METRICS, MODELS, PARAM_SCHEDULERS, TRANSFORMS
from mmseg.utils import register_all_modules
from PIL import Image
from torch.overrides import TorchFunctionMode

import mmsegmentation.datasets
import mmsegmentation.engine
import mmsegmentation.evaluation
import mmsegmentation.models  # noqa: F401
from mmsegmentation.classes import CLASSES
from mmsegmentation.command import InputError
from mmsegmentation.config import check_top_level_keys, schedule_notes
from mmsegmentation.files import write_mask

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(path.relative_to(ROOT) for path in ROOT.glob('configs/**/*.py'))
PARTS = sorted(path.relative_to(ROOT) for path in ROOT.glob('_base_/**/*.py'))
# How many must be there at the least: a search of the wrong place finds nothing.
FLOORS = {
    'convnext': 10,
    'beit': 4,
    'augmentation': 11,
    'pseudo': 3,
    'small': 2,
    'demo': 2,
    'training': 13,
    'scale': 3,
}
XL = Path('configs/convnext/upernet_convnext-xlarge_1xb4-cutmix-60e_recycle-512x512.py')
BEIT = Path('configs/beit/upernet_beit-base_1xb4-cutmix-60e_recycle-640x640.py')
EPOCH = 654  # 2,617 images by 4, the last one dropped

each_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)


class OnMeta(TorchFunctionMode):
    """Build without memory; MMSegmentation's BEiT reads numbers from a linspace."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs['device'] = 'cpu'
        return func(*args, **kwargs)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw two images per part, one of them not square."""
    root = tmp_path_factory.mktemp('data')
    rng = np.random.default_rng(0)
    for part in ('train', 'valid', 'pseudo'):
        for name, size in (('a/0001.jpg', (64, 64)), ('b/0001.jpg', (48, 64))):
            image = root / part / 'images' / name
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(
                image
            )
            mask = np.zeros(size, dtype=np.uint8)
            mask[10:40, 10:40] = 3
            target = (root / part / 'mask' / name).with_suffix('.png')
            target.parent.mkdir(parents=True, exist_ok=True)
            write_mask(target, mask)
            sure = (root / part / 'confidence' / name).with_suffix('.png')
            sure.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full(size, 200, np.uint8)).save(sure)
    return root


@pytest.fixture(autouse=True)
def at_data_root(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register_all_modules(init_default_scope=True)
    monkeypatch.setenv('RECYCLE_DATA', str(data_root))
    np.random.seed(0)  # what the transforms draw from


@cache
def read(path: Path) -> Config:
    return Config.fromfile(ROOT / path, import_custom_modules=False)


@cache
def build_model(text: str) -> torch.nn.Module:
    with torch.device('meta'), OnMeta():
        return MODELS.build(Config(json.loads(text)))


def model_of(cfg: Config) -> torch.nn.Module:
    # Many configs share a model: built once, by its text.
    return build_model(json.dumps(cfg.model.to_dict(), sort_keys=True))


def bases_of(path: Path) -> list[Path]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            value = ast.literal_eval(node.value)
            names = [value] if isinstance(value, str) else value
            return [(path.parent / name).resolve() for name in names]
    return []


def levels_of(path: Path) -> int:
    return max((1 + levels_of(base) for base in bases_of(path)), default=0)


def transforms_of(pipeline: list) -> Iterator[dict]:
    for step in pipeline:
        yield step
        if 'transforms' in step and step['type'] == 'TestTimeAug':
            for group in step['transforms']:
                yield from transforms_of(group)


@pytest.mark.parametrize('folder', FLOORS)
def test_configs__are_found(folder: str) -> None:
    found = [path for path in CONFIGS if path.parts[1] == folder]
    assert len(found) >= FLOORS[folder]


def test_configs__have_a_floor_in_every_folder() -> None:
    assert {path.parts[1] for path in CONFIGS} == set(FLOORS)


def test_parts__are_all_used() -> None:
    used = {base for path in (*CONFIGS, *PARTS) for base in bases_of(ROOT / path)}
    assert {ROOT / path for path in PARTS} <= used


@each_config
def test_config__header_asks_a_question_and_names_itself(path: Path) -> None:
    header = ast.get_docstring(ast.parse(path.read_text())) or ''
    if path.parts[1] not in ('small', 'demo'):
        assert '?' in header.splitlines()[0]
    assert 'Parent:' in header
    _, run, command = header.partition('Run:')
    assert run
    assert str(path) in command or (path.parts[1] == 'demo' and 'demo' in command)


@each_config
def test_config__is_at_most_three_levels_deep(path: Path) -> None:
    assert levels_of(ROOT / path) <= 3


@each_config
def test_config__has_known_top_level_keys_only(path: Path) -> None:
    check_top_level_keys(read(path))
    assert schedule_notes(read(path)) == []


@each_config
def test_config__model_fits_its_own_training_pipeline(path: Path) -> None:
    cfg = read(path)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    samples = [dataset[i] for i in range(2)]
    shapes = {tuple(sample['inputs'].shape) for sample in samples}
    assert len(shapes) == 1, 'images of different shape do not make a batch'
    for sample in samples:
        labels = sample['data_samples'].gt_sem_seg.data
        assert labels.shape[1:] == sample['inputs'].shape[1:]
        assert set(labels.unique().tolist()) <= {0, 3, 255}
    model = model_of(cfg)
    images = torch.empty(2, *shapes.pop(), device='meta')
    with torch.no_grad():
        maps = model.extract_feat(images)
        for head in (model.decode_head, model.auxiliary_head):
            assert head(maps).shape[:2] == (2, len(CLASSES))


@each_config
def test_config__losses_work_without_compiled_operators(path: Path) -> None:
    model = read(path).model
    labels = torch.tensor([[[0, 3], [10, 255]]])
    for head in (model.decode_head, model.auxiliary_head):
        logits = torch.zeros(1, len(CLASSES), 2, 2, requires_grad=True)
        parts = head.loss_decode
        parts = parts if isinstance(parts, list) else [parts]
        losses = [MODELS.build(p)(logits, labels, ignore_index=255) for p in parts]
        loss = sum(losses)
        loss.backward()
        assert loss > 0
        assert (logits.grad[..., 1, 1] == 0).all()


@pytest.mark.parametrize('objects', [True, False])
def test_cropmask__wide_image_and_empty_mask(objects: bool) -> None:
    (path,) = (p for p in CONFIGS if '-cropmask-' in p.stem)
    pipeline = read(path).train_dataloader.dataset.pipeline
    transforms = [TRANSFORMS.build(step) for step in pipeline[1:-1]]
    label_map = np.full((288, 512), 255, np.uint8)
    label_map[100:200, 40:300] = 0
    if objects:
        label_map[150:160, 60:70] = 3
    sizes, kept = set(), []
    for _ in range(20):
        image = np.full((288, 512, 3), 100, np.uint8)
        sample = {'img': image, 'gt_seg_map': label_map, 'img_shape': (288, 512)}
        sample['seg_fields'] = ['gt_seg_map']
        for transform in transforms:
            sample = transform(sample)
        sizes |= {sample['img'].shape[:2], sample['gt_seg_map'].shape}
        kept.append((sample['gt_seg_map'] == 3).any())
    assert sizes == {(512, 512)}
    assert all(kept) if objects else not any(kept)


@each_config
def test_config__evaluation_pipelines_and_metrics_work(path: Path) -> None:
    cfg = read(path)
    final = cfg.get('trains_on_validation', False)
    assert (cfg.val_dataloader is None) == (cfg.val_evaluator is None) == final
    for loader in (cfg.val_dataloader or cfg.test_dataloader, cfg.test_dataloader):
        sample = DATASETS.build(loader.dataset)[0]
        assert sample['data_samples'].gt_sem_seg.data.shape == (1, 64, 64)
        assert tuple(sample['data_samples'].ori_shape) == (64, 64)
    for evaluator in (cfg.val_evaluator or cfg.test_evaluator, cfg.test_evaluator):
        METRICS.build(evaluator)
    dataset = DATASETS.build(
        dict(cfg.test_dataloader.dataset, pipeline=cfg.tta_pipeline)
    )
    views = dataset[0]['inputs']
    assert len(views) >= 2
    window = cfg.model.backbone.get('img_size')
    if window:
        assert all(tuple(view.shape[1:]) == tuple(window) for view in views)
    with torch.device('meta'):
        MODELS.build(dict(cfg.tta_model, module=model_of(cfg)))


@each_config
def test_config__optimizer_and_schedules_are_built(path: Path) -> None:
    cfg = read(path)
    optimizer = build_optimizer(cfg)
    rates = [group['lr'] for group in optimizer.param_groups]
    assert max(rates) == pytest.approx(cfg.optim_wrapper.optimizer.lr)
    assert min(rates) > 0
    trained = [p for group in optimizer.param_groups for p in group['params']]
    assert len(trained) == len(list(model_of(cfg).parameters()))
    build_schedulers(cfg, optimizer)


@each_config
def test_config__keeps_the_best_by_miou(path: Path) -> None:
    cfg = read(path)
    if cfg.get('trains_on_validation'):
        assert cfg.default_hooks.checkpoint.save_best is None
        return
    assert cfg.default_hooks.checkpoint.save_best == 'mIoU'
    assert cfg.train_cfg.val_interval <= cfg.train_cfg.get('max_iters', 1)


@each_config
def test_config__keeps_a_checkpoint_while_the_next_is_written(path: Path) -> None:
    # MMEngine deletes the oldest before it writes.
    assert read(path).default_hooks.checkpoint.max_keep_ckpts == 2


@each_config
def test_config__border_is_zero_after_normalising(path: Path) -> None:
    cfg = read(path)
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.bgr_to_rgb
    mean = tuple(reversed(preprocessor.mean))
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert tuple(steps['FlipRotateResize'].pad_val) == mean
    assert steps['FlipRotateResize'].seg_pad_val == 255


@each_config
def test_config__hooks_that_it_names_exist(path: Path) -> None:
    from mmseg.registry import HOOKS

    cfg = read(path)
    for hook in (*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])):
        assert HOOKS.get(hook['type']) is not None, hook
    for pipeline in (cfg.tta_pipeline, cfg.test_dataloader.dataset.pipeline):
        for step in transforms_of(pipeline):
            assert TRANSFORMS.get(step['type']) is not None, step


@each_config
def test_config__pretrained_weights_come_from_their_publishers(path: Path) -> None:
    init_cfg = read(path).model.backbone.get('init_cfg')
    if path.parts[1] in ('small', 'demo') or 'atto' in path.name:
        assert init_cfg is None
        return
    assert init_cfg.type == 'Pretrained'
    assert init_cfg.checkpoint.startswith(
        (
            'https://download.openmmlab.com/mmclassification/v0/convnext/',
            'https://github.com/addf400/files/releases/download/v1.0/',
        )
    )


def build_optimizer(cfg: Config) -> torch.optim.Optimizer:
    wrapper = dict(cfg.optim_wrapper)
    if wrapper['type'] == 'AmpOptimWrapper' and not torch.cuda.is_available():
        # It refuses to be built on the CPU: its arguments are checked, and the rest
        # is built in float32.
        signature(AmpOptimWrapper).bind_partial(
            loss_scale=wrapper.pop('loss_scale'), dtype=wrapper.pop('dtype')
        )
        wrapper['type'] = 'OptimWrapper'
    return build_optim_wrapper(model_of(cfg), ConfigDict(wrapper)).optimizer


def build_schedulers(cfg: Config, optimizer: torch.optim.Optimizer) -> list:
    return [
        PARAM_SCHEDULERS.build(
            dict(scheduler), default_args=dict(optimizer=optimizer, epoch_length=EPOCH)
        )
        for scheduler in cfg.param_scheduler
    ]


def rates_of(path: Path, iterations: int) -> list[float]:
    """Return the head's rate over a run, as a share of the config's."""
    cfg = read(path)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    schedulers = build_schedulers(cfg, optimizer)
    rates = []
    for _ in range(iterations):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


@pytest.mark.parametrize('path', [XL, BEIT], ids=['xlarge', 'beit'])
def test_schedule__warm_up_times_linear_decay(path: Path) -> None:
    total = 60 * EPOCH
    rates = rates_of(path, total)
    for i in (0, 1, 750, 1499, 1500, 20000, total - 1):
        warm_up = min(1, 1e-6 + (1 - 1e-6) * i / 1499)
        assert rates[i] == pytest.approx(warm_up * (1 - i / (total - 1)), rel=1e-6)


def test_schedule__cosine_and_cyclic_children_end_low_and_restart() -> None:
    folder = XL.parents[1] / 'augmentation'
    (cosine,) = folder.glob('*cosine*')
    (cyclic,) = folder.glob('*cyclic*')
    total = 60 * EPOCH
    rates = rates_of(cosine, total)
    assert rates[total // 2] == pytest.approx(0.5, rel=1e-3)
    assert rates[-1] < 1e-6
    rates = rates_of(cyclic, total)
    for i in (0, 1, 750, 1499, 1500, 5000):
        warm_up = min(1, 1e-6 + (1 - 1e-6) * i / 1499)
        descent = (1 + np.cos(np.pi * i / (20 * EPOCH))) / 2
        assert rates[i] == pytest.approx(warm_up * descent, rel=1e-6)
    for restart, weight in ((20 * EPOCH, 0.5), (40 * EPOCH, 0.25)):
        assert rates[restart - 1] < 1e-3
        assert rates[restart] == pytest.approx(weight)
    assert rates[-1] < 1e-3


def test_2023_system__convnext_xl() -> None:
    cfg = read(XL)
    assert cfg.model.backbone.type == 'ConvNeXt'
    assert cfg.model.backbone.arch == 'xlarge'
    assert 'in21k' in cfg.model.backbone.init_cfg.checkpoint
    assert cfg.model.backbone.drop_path_rate == 0.4
    assert cfg.model.backbone.layer_scale_init_value == 1.0
    assert cfg.optim_wrapper == dict(
        type='AmpOptimWrapper',
        dtype='float16',
        loss_scale='dynamic',
        optimizer=dict(type='AdamW', lr=8e-5, betas=(0.9, 0.999), weight_decay=0.05),
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.9, decay_type='stage_wise', num_layers=12),
    )
    assert cfg.model.test_cfg == dict(
        mode='slide', crop_size=(512, 512), stride=(341, 341)
    )
    check_what_both_share(cfg)


def test_2023_system__beit_base() -> None:
    cfg = read(BEIT)
    checkpoint = cfg.model.backbone.init_cfg.checkpoint
    assert checkpoint.endswith('/beit_base_patch16_224_pt22k_ft22k.pth')
    assert cfg.model.backbone.drop_path_rate == 0.1
    assert cfg.optim_wrapper == dict(
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=3e-5, betas=(0.9, 0.999), weight_decay=0.05),
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.9, decay_type='layer_wise', num_layers=12),
    )
    assert cfg.model.test_cfg == dict(mode='whole')
    assert cfg.train_dataloader.dataset.pipeline[2].scale == (640, 640)
    resize = dict(type='Resize', scale=(640, 640), keep_ratio=False)
    assert resize in cfg.test_dataloader.dataset.pipeline
    check_what_both_share(cfg)


def check_what_both_share(cfg: Config) -> None:
    assert cfg.train_cfg.max_epochs == 60
    assert cfg.train_cfg.val_interval == 1
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.train_dataloader.drop_last
    assert cfg.model.decode_head.loss_decode.type == 'CrossEntropyLoss'
    assert cfg.model.auxiliary_head.type == 'FastFCNHead'
    assert cfg.model.auxiliary_head.in_index == 2
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == 0.4
    mix, distortion, rotation = cfg.train_dataloader.dataset.pipeline[:3]
    assert mix.type == 'RandomCutMix'
    assert distortion == dict(type='FastPhotoMetricDistortion')
    assert rotation.type == 'FlipRotateResize'
    assert (rotation.flip_prob, rotation.rotate_prob) == (0.5, 0.8)
    assert (rotation.degree, rotation.pad_size) == (30, (512, 512))


def test_pseudo__parts_are_trained_together(data_root: Path) -> None:
    (path,) = (XL.parents[1] / 'pseudo').glob('*tiny*-pseudo-60e*')
    dataset = DATASETS.build(read(path).train_dataloader.dataset)
    assert len(dataset) == 4
    parts = {dataset.get_data_info(i)['img_path'] for i in range(4)}
    assert {Path(p).relative_to(data_root).parts[0] for p in parts} == {
        'train',
        'pseudo',
    }


@pytest.mark.parametrize('folder', ['pseudo', 'small'])
def test_mixed__two_real_images_come_with_each_pseudo_labelled_one(folder: str) -> None:
    (path,) = (XL.parents[1] / folder).glob('*-mixed-*')
    dataset = DATASETS.build(read(path).train_dataloader.dataset)
    parts = [Path(dataset.get_data_info(i)['img_path']).parts[-4] for i in range(3)]
    assert len(dataset) == 3
    assert parts == ['train', 'train', 'pseudo']


@pytest.mark.parametrize('folder', ['pseudo', 'small'])
def test_real__last_stage_has_no_pseudo_labels_and_a_lower_rate(folder: str) -> None:
    (path,) = (XL.parents[1] / folder).glob('*-real-*')
    cfg, parent = read(path), Config.fromfile(bases_of(ROOT / path)[0])
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert 'pseudo' not in dataset.get_data_info(0)['img_path']
    rates = [c.optim_wrapper.optimizer.lr for c in (cfg, parent)]
    assert rates[0] <= rates[1] / 4


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('train_dataloder', r"unknown top-level key 'train_dataloder'; .*train_datal"),
        ('zzz', r"unknown top-level key 'zzz'; begin its name with an underscore"),
    ],
)
def test_check_top_level_keys__refuses_what_nothing_reads(
    key: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_top_level_keys(Config({'model': {}, key: {}}))


def test_check_top_level_keys__allows_a_configs_own_names() -> None:
    check_top_level_keys(Config({'model': {}, '_train_set': {}}))
