"""ElasticTransform: do crumpled shapes help bags and paper?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/augmentation/upernet_convnext-tiny_1xb4-cutmix-elastic-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

train_pipeline = [
    _base_.train_pipeline[0],
    dict(
        type='SeededAlbu',
        transforms=[
            dict(
                type='ElasticTransform',
                alpha=120.0,
                sigma=6.0,
                fill=_base_.mean_bgr[::-1],
                fill_mask=255,
                p=0.5,
            )
        ],
    ),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
