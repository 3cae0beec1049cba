"""The recycling data, without a training pipeline: what every run shares.

Images are 512 x 512; any other size is scaled to fit, in its own proportions.
"""

import os

dataset_type = 'RecycleDataset'
# MMEngine's own way to read a variable imports torch, which takes seconds.
data_root = os.environ.get('RECYCLE_DATA') or 'input/data'

# What the models subtract, in the order of a loaded image (BGR): a border of this
# colour is zero after normalising.
mean_bgr = (103.53, 116.28, 123.675)

train_set = dict(
    type=dataset_type,
    data_root=data_root,
    data_prefix=dict(img_path='train/images', seg_map_path='train/mask'),
    # Decoded once and kept, 3.4 GB for the whole data; cache=False reads the files.
    cache=True,
    pipeline=[
        dict(type='LoadDecoded', copy=False),
        dict(type='FastResize', scale=(512, 512), keep_ratio=True),
    ],
)
# ``utils/pseudo_label.py`` writes this part; the configs named pseudo train on both.
pseudo_set = dict(
    train_set,
    data_prefix=dict(img_path='pseudo/images', seg_map_path='pseudo/mask'),
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='FastResize', scale=(512, 512), keep_ratio=True),
    # Labels are loaded after the resize: scores are measured at their own size.
    dict(type='LoadAnnotations'),
    dict(type='FastPackSegInputs', byte_labels=True),
]
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path='valid/images', seg_map_path='valid/mask'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ExactIoUMetric')
test_evaluator = val_evaluator

tta_model = dict(type='MeanProbabilityTTA')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='FastResize', scale=(512, 512), keep_ratio=True)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='FastPackSegInputs', byte_labels=True)],
        ],
    ),
]
