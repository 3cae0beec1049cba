"""UPerNet on a BEiT of 6 layers from scratch: the second member of the ensemble.

Parent: the parts alone; the data are those of the small ConvNeXt, the schedule is
        shorter, for a step takes longer.
Run:    python tools/train.py \
            configs/small/upernet_beit-mini_1xb8-copypaste-2400it_recycle-128x128.py
Result: docs/results.md
"""

_base_ = [
    '../../_base_/models/upernet_beit.py',
    '../../_base_/datasets/recycle_128.py',
    '../../_base_/schedules/small.py',
    '../../_base_/small_runtime.py',
]

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    # Patches of 8: as many windows on 128 pixels as 16 gives on 256.
    backbone=dict(
        img_size=(128, 128),
        patch_size=8,
        embed_dims=128,
        num_layers=6,
        num_heads=4,
        out_indices=(1, 2, 3, 5),
        drop_path_rate=0.05,
    ),
    neck=dict(embed_dim=128, rescales=[2, 1, 0.5, 0.25], norm_cfg=norm_cfg),
    decode_head=dict(in_channels=[128] * 4, channels=32, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=128, channels=32, norm_cfg=norm_cfg),
)
max_iters = 2400
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=100),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=100, end=max_iters, eta_min=0),
]
train_cfg = dict(max_iters=max_iters)
# BEiT sees windows of one size: flipped views only.
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(128, 128), keep_ratio=False)],
            [
                dict(type='RandomFlip', prob=0.0, direction='horizontal'),
                dict(type='RandomFlip', prob=1.0, direction='horizontal'),
            ],
            [dict(type='LoadAnnotations')],
            [dict(type='FastPackSegInputs', byte_labels=True)],
        ],
    ),
]
