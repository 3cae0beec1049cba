"""UPerNet-ConvNeXt-B with CutMix: what do wider stages and weights of ImageNet-21k add?

From ImageNet-21k weights.

Parent: the parts alone.
Run:    python tools/train.py \
            configs/convnext/upernet_convnext-base_1xb4-cutmix-60e_recycle-512x512.py
"""

_base_ = [
    '../../_base_/models/upernet_convnext.py',
    '../../_base_/datasets/recycle_512.py',
    '../../_base_/schedules/convnext_60e.py',
    '../../_base_/default_runtime.py',
]

checkpoint_file = (
    'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/'
    'convnext-base_3rdparty_in21k_20220301-262fd037.pth'
)
model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(
            type='Pretrained', checkpoint=checkpoint_file, prefix='backbone.'
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
