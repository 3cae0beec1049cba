"""UPerNet-ConvNeXt-T with CutMix: what does the smallest pretrained one reach?

From ImageNet-1k weights.

Parent: the parts alone.
Run:    python tools/train.py \
            configs/convnext/upernet_convnext-tiny_1xb4-cutmix-60e_recycle-512x512.py
"""

_base_ = [
    '../../_base_/models/upernet_convnext.py',
    '../../_base_/datasets/recycle_512.py',
    '../../_base_/schedules/convnext_60e.py',
    '../../_base_/default_runtime.py',
]

checkpoint_file = (
    'https://download.openmmlab.com/mmclassification/v0/convnext/downstream/'
    'convnext-tiny_3rdparty_32xb128-noema_in1k_20220301-795e9634.pth'
)
model = dict(
    backbone=dict(
        init_cfg=dict(
            type='Pretrained', checkpoint=checkpoint_file, prefix='backbone.'
        ),
    ),
)
