"""UPerNet on a BEiT of four layers: the second member of the ensemble.

Parent: the parts alone, with CopyPaste in the place of CutMix.
Run:    python tools/demo.py
"""

_base_ = [
    '../../_base_/models/upernet_beit.py',
    '../../_base_/datasets/drawn_128.py',
    '../../_base_/schedules/demo.py',
    '../../_base_/demo_runtime.py',
]

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    # Patches of 8: as many windows on 128 pixels as 16 gives on 256.
    backbone=dict(
        img_size=(128, 128),
        patch_size=8,
        embed_dims=96,
        num_layers=4,
        num_heads=3,
        out_indices=(0, 1, 2, 3),
        drop_path_rate=0.0,
        init_values=1.0,
    ),
    neck=dict(embed_dim=96, rescales=[2, 1, 0.5, 0.25], norm_cfg=norm_cfg),
    decode_head=dict(in_channels=[96] * 4, channels=32, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=96, channels=32, norm_cfg=norm_cfg),
)
train_pipeline = [
    dict(type='CopyPaste', prob=1.0, mode='all', patch_scale_ratio=0.75),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
