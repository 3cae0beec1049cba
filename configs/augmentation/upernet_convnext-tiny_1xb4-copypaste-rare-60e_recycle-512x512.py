"""Do objects of rare classes, pasted more often, mirrored and in all sizes, help?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py, with
        CopyPaste in the place of CutMix; donors are drawn half by chance, half by
        their share of a class's pixels, each class alike.
Run:    python tools/train.py \
            configs/augmentation/upernet_convnext-tiny_1xb4-copypaste-rare-60e_recycle-512x512.py
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

train_pipeline = [
    dict(
        type='CopyPaste',
        prob=1.0,
        scale_range=(0.4, 1.0),
        flip_prob=0.5,
        prefer_rare=0.5,
    ),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
