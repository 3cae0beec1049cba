"""Training and test at 640 x 640 with CutMix on every image, as BEiT is trained.

Mixed and rotated at 512, then enlarged. BEiT sees windows of one fixed size, so images
of other proportions are stretched for the test.
"""

_base_ = './recycle.py'

train_pipeline = [
    dict(type='RandomCutMix', prob=1.0, patch_scale=(256, 256)),
    dict(type='FastPhotoMetricDistortion'),
    # RandomFlip, RandomRotate, Pad and Resize in one.
    dict(
        type='FlipRotateResize',
        flip_prob=0.5,
        rotate_prob=0.8,
        degree=30,
        pad_val=_base_.mean_bgr,
        seg_pad_val=255,
        pad_size=(512, 512),
        scale=(640, 640),
    ),
    dict(type='FastPackSegInputs', byte_labels=True),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    # A last batch of one image would stop at the batch norm of 1 x 1 features.
    drop_last=True,
    collate_fn=dict(type='stacked_collate'),
    sampler=dict(type='SeededSampler', shuffle=True, round_up=False),
    dataset=dict(
        type='SeededMixDataset',
        dataset=_base_.train_set,
        pipeline=train_pipeline,
    ),
)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 640), keep_ratio=False),
    # Labels are loaded after the resize: scores are measured at their own size.
    dict(type='LoadAnnotations'),
    dict(type='FastPackSegInputs', byte_labels=True),
]
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(640, 640), keep_ratio=False)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='FastPackSegInputs', byte_labels=True)],
        ],
    ),
]
