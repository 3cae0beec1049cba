"""SWA: is the even mean of the last quarter better than the moving one?

Parent: configs/small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py;
        the mean over steps 3,000 to 4,000 in the place of EMA.
Run:    python tools/train.py \
            configs/training/upernet_convnext-atto_1xb8-copypaste-swa-4000it_recycle-128x128.py
"""

_base_ = '../small/upernet_convnext-atto_1xb8-copypaste-4000it_recycle-128x128.py'

# Each step counts alike, from where the schedule is down to 15 % of its rate.
_swa = dict(
    type='EMAHook',
    ema_type='StochasticWeightAverage',
    begin_iter=3000,
    update_buffers=True,
)
custom_hooks = [_swa, *_base_.custom_hooks[1:]]
