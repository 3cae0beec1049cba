"""The runtime of the demonstration: counted in iterations, the best checkpoint kept."""

_base_ = './default_runtime.py'

log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False),
    checkpoint=dict(by_epoch=False, interval=400),
)
custom_hooks = [
    dict(type='ChannelsLastHook'),
    dict(type='BestMetricsHook'),
    dict(type='ScreenHook', interval=100),
]
