"""UPerNet-ConvNeXt-L with CutMix: what does half as much width again add?

From ImageNet-21k weights.

Parent: the parts alone.
Run:    python tools/train.py \
            configs/convnext/upernet_convnext-large_1xb4-cutmix-60e_recycle-512x512.py
"""

_base_ = [
    '../../_base_/models/upernet_convnext.py',
    '../../_base_/datasets/recycle_512.py',
    '../../_base_/schedules/convnext_60e.py',
    '../../_base_/default_runtime.py',
]

checkpoint_file = (
    'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/'
    'convnext-large_3rdparty_in21k_20220301-e6e0ea0a.pth'
)
model = dict(
    backbone=dict(
        arch='large',
        init_cfg=dict(
            type='Pretrained', checkpoint=checkpoint_file, prefix='backbone.'
        ),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536]),
    auxiliary_head=dict(in_channels=768),
)
