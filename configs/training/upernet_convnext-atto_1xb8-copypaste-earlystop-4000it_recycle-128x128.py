"""Early stopping: where would a run end that stops when it gains no more?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        nothing else changes.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-earlystop-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

custom_hooks = [
    *_base_.custom_hooks,
    # mIoU in percent: three validations without a gain of a tenth of a point.
    dict(type='EarlyStoppingHook', monitor='mIoU', min_delta=0.1, patience=3),
]
