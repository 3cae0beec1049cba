"""UPerNet-BEiT-L with CutMix: what does twice the depth add?

From Microsoft's weights: self-supervised, then trained on ImageNet-22k.

Parent: the parts alone.
Run:    python tools/train.py \
            configs/beit/upernet_beit-large_1xb4-cutmix-60e_recycle-640x640.py
"""

_base_ = [
    '../../_base_/models/upernet_beit.py',
    '../../_base_/datasets/recycle_640.py',
    '../../_base_/schedules/beit_60e.py',
    '../../_base_/default_runtime.py',
]

checkpoint_file = (
    'https://github.com/addf400/files/releases/download/v1.0/'
    'beit_large_patch16_224_pt22k_ft22k.pth'
)
model = dict(
    backbone=dict(
        embed_dims=1024,
        num_layers=24,
        num_heads=16,
        out_indices=(7, 11, 15, 23),
        drop_path_rate=0.2,
        init_values=1e-6,
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint_file),
    ),
    neck=dict(embed_dim=1024),
    decode_head=dict(in_channels=[1024, 1024, 1024, 1024], channels=1024),
    auxiliary_head=dict(in_channels=1024),
)
# Twice the layers, and about the root of the decay: the first layer learns as in B.
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.95, num_layers=24))
