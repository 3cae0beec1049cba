"""Training at 512 x 512 with CutMix on every image, as ConvNeXt is trained."""

_base_ = './recycle.py'

train_pipeline = [
    dict(type='RandomCutMix', prob=1.0, patch_scale=(256, 256)),
    dict(type='FastPhotoMetricDistortion'),
    # RandomFlip, RandomRotate and Pad in one.
    dict(
        type='FlipRotateResize',
        flip_prob=0.5,
        rotate_prob=0.8,
        degree=30,
        pad_val=_base_.mean_bgr,
        seg_pad_val=255,
        pad_size=(512, 512),
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
