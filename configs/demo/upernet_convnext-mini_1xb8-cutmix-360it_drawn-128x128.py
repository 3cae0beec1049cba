"""UPerNet on a ConvNeXt of six blocks: what is learnt in a minute on two cores?

Parent: the parts alone, with the CutMix pipeline of the large models at a quarter of
        the size.
Run:    python tools/demo.py
"""

_base_ = [
    '../../_base_/models/upernet_convnext.py',
    '../../_base_/datasets/drawn_128.py',
    '../../_base_/schedules/demo.py',
    '../../_base_/demo_runtime.py',
]

norm_cfg = dict(type='BN')
model = dict(
    data_preprocessor=dict(size=(128, 128)),
    backbone=dict(
        arch=dict(_delete_=True, depths=[1, 1, 3, 1], channels=[32, 64, 128, 192]),
        drop_path_rate=0.0,
    ),
    decode_head=dict(in_channels=[32, 64, 128, 192], channels=48, norm_cfg=norm_cfg),
    auxiliary_head=dict(in_channels=128, channels=32, norm_cfg=norm_cfg),
    test_cfg=dict(_delete_=True, mode='whole'),
)
