default_scope = 'mmseg'
custom_imports = dict(
    imports=[
        'mmsegmentation.datasets',
        'mmsegmentation.models',
        'mmsegmentation.engine',
        'mmsegmentation.evaluation',
    ],
    allow_failed_imports=False,
)
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
# One more line sends the curves to W&B, MLflow and the others of MMEngine, for example
# dict(type='WandbVisBackend').
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(type='SegLocalVisualizer', vis_backends=vis_backends)
# Several processes share all their batch norms.
sync_bn = 'torch'
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        by_epoch=True,
        interval=1,
        # MMEngine deletes one before the next is whole.
        max_keep_ckpts=2,
        save_best='mIoU',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    sample_check=dict(type='SampleCheckHook'),
    quarantine=dict(type='QuarantineHook'),
    finite_loss=dict(type='FiniteLossHook'),
)
custom_hooks = [dict(type='BestMetricsHook'), dict(type='ScreenHook')]
