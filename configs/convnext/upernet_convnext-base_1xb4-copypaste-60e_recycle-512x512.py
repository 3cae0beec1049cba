"""UPerNet-ConvNeXt-B with CopyPaste: do whole objects help more than rectangles?

Parent: the same run with CutMix; nothing else changes.
Run:    python tools/train.py \
            configs/convnext/upernet_convnext-base_1xb4-copypaste-60e_recycle-512x512.py
"""

_base_ = './upernet_convnext-base_1xb4-cutmix-60e_recycle-512x512.py'

train_pipeline = [
    dict(type='CopyPaste', prob=1.0, mode='all', patch_scale_ratio=0.75),
    *_base_.train_pipeline[1:],
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
