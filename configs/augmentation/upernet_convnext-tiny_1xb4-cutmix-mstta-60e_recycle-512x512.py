"""Multi-scale test-time augmentation: what do three scales add to the flip?

Parent: configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py;
        nothing else changes.
Run:    python tools/test.py \
  configs/augmentation/upernet_convnext-tiny_1xb4-cutmix-mstta-60e_recycle-512x512.py \
  CHECKPOINT --split valid --out PRED --tta
"""

_base_ = '../convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py'

tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(384, 384), keep_ratio=True),
                dict(type='FastResize', scale=(512, 512), keep_ratio=True),
                dict(type='Resize', scale=(640, 640), keep_ratio=True),
            ],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='FastPackSegInputs', byte_labels=True)],
        ],
    ),
]
