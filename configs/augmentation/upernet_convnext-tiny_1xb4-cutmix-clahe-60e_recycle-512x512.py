"""CLAHE: does levelling local contrast help under poor light?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/augmentation/upernet_convnext-tiny_1xb4-cutmix-clahe-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

train_pipeline = [
    _base_.train_pipeline[0],
    dict(type='SeededAlbu', transforms=[dict(type='CLAHE', clip_limit=4.0, p=0.5)]),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
