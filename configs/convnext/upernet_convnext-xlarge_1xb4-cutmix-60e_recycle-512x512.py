"""UPerNet-ConvNeXt-XL with CutMix: how good is the largest?

From ImageNet-21k weights.

Parent: the parts alone.
Run:    python tools/train.py \
            configs/convnext/upernet_convnext-xlarge_1xb4-cutmix-60e_recycle-512x512.py
"""

_base_ = [
    '../../_base_/models/upernet_convnext.py',
    '../../_base_/datasets/recycle_512.py',
    '../../_base_/schedules/convnext_60e.py',
    '../../_base_/default_runtime.py',
]

checkpoint_file = (
    'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/'
    'convnext-xlarge_3rdparty_in21k_20220301-08aa5ddc.pth'
)
model = dict(
    backbone=dict(
        arch='xlarge',
        init_cfg=dict(
            type='Pretrained', checkpoint=checkpoint_file, prefix='backbone.'
        ),
    ),
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024),
)
