"""CropNonEmptyMask: do closer views that hold an object help small ones?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/augmentation/upernet_convnext-tiny_1xb4-cutmix-cropmask-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

# After the padding: before it, a side may be shorter than the crop.
train_pipeline = [
    *_base_.train_pipeline[:-1],
    dict(
        type='SeededAlbu',
        transforms=[
            dict(
                type='CropNonEmptyMaskIfExists',
                height=384,
                width=384,
                ignore_values=[255],
                p=0.5,
            )
        ],
    ),
    dict(type='FastResize', scale=(512, 512), keep_ratio=True),
    _base_.train_pipeline[-1],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
