"""UPerNet-ConvNeXt-atto from scratch: what do two CPU cores reach in twenty minutes?

Parent: the parts alone.
Run:    python tools/train.py \
            configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py
Result: docs/results.md
"""

_base_ = [
    '../../_base_/models/upernet_convnext.py',
    '../../_base_/datasets/recycle_128.py',
    '../../_base_/schedules/small.py',
    '../../_base_/small_runtime.py',
]

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(arch='atto', drop_path_rate=0.05),
    # A wide head would take most of the time: 32 channels are a third faster than 64.
    decode_head=dict(in_channels=[40, 80, 160, 320], channels=32, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=160, channels=64, norm_cfg=norm_cfg),
    test_cfg=dict(_delete_=True, mode='whole'),
)
