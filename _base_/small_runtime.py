"""The runtime of small models: counted in iterations, weights averaged (EMA)."""

_base_ = './default_runtime.py'

log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=500),
)
custom_hooks = [
    # Averaged weights with the statistics of the last weights would not fit.
    dict(
        type='EMAHook',
        ema_type='ExponentialMovingAverage',
        momentum=0.005,
        update_buffers=True,
    ),
    dict(type='ChannelsLastHook'),
    dict(type='BestMetricsHook'),
    dict(type='ScreenHook', interval=100),
]
