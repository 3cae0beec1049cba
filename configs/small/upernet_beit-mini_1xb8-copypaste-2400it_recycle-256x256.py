"""UPerNet on a BEiT of 6 layers from scratch: the second member of the ensemble.

Parent: the parts alone; data and schedule are those of the small ConvNeXt.
Run:    python tools/train.py \
            configs/small/upernet_beit-mini_1xb8-copypaste-2400it_recycle-256x256.py
Result: docs/results.md
"""

_base_ = [
    '../../_base_/models/upernet_beit.py',
    '../../_base_/datasets/recycle_256.py',
    '../../_base_/schedules/small.py',
    '../../_base_/small_runtime.py',
]

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=(256, 256)),
    backbone=dict(
        img_size=(256, 256),
        embed_dims=192,
        num_layers=6,
        num_heads=6,
        out_indices=(1, 2, 3, 5),
        drop_path_rate=0.05,
    ),
    neck=dict(embed_dim=192),
    decode_head=dict(in_channels=[192] * 4, channels=64, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=192, channels=64, norm_cfg=norm_cfg),
)
# BEiT sees windows of one size: flipped views only.
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(256, 256), keep_ratio=False)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
