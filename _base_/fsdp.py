"""The model is divided among the processes by FSDP, its backbone block by block."""

strategy = dict(
    type='FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        auto_wrap_policy=dict(type='wrap_blocks'),
    ),
)
