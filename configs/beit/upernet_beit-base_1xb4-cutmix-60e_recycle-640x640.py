"""UPerNet-BEiT-B with CutMix: what does a transformer see that ConvNeXt does not?

From Microsoft's weights: self-supervised, then trained on ImageNet-22k.

Parent: the parts alone.
Run:    python tools/train.py \
            configs/beit/upernet_beit-base_1xb4-cutmix-60e_recycle-640x640.py
"""

_base_ = [
    '../../_base_/models/upernet_beit.py',
    '../../_base_/datasets/recycle_640.py',
    '../../_base_/schedules/beit_60e.py',
    '../../_base_/default_runtime.py',
]

checkpoint_file = (
    'https://github.com/addf400/files/releases/download/v1.0/'
    'beit_base_patch16_224_pt22k_ft22k.pth'
)
model = dict(
    backbone=dict(
        init_cfg=dict(type='Pretrained', checkpoint=checkpoint_file),
    ),
)
