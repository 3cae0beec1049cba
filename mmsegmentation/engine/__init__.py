from mmsegmentation.engine.backbone_rate_constructor import BackboneRateConstructor
from mmsegmentation.engine.bf16_optim_wrapper import Bf16OptimWrapper
from mmsegmentation.engine.channels_last_hook import ChannelsLastHook
from mmsegmentation.engine.class_weight_hook import ClassWeightHook
from mmsegmentation.engine.compile_hook import CompileHook
from mmsegmentation.engine.data_only_hook import DataOnlyHook
from mmsegmentation.engine.exact_early_stopping_hook import ExactEarlyStoppingHook
from mmsegmentation.engine.exact_epoch_loop import ExactEpochLoop
from mmsegmentation.engine.finite_loss_hook import FiniteLossHook
from mmsegmentation.engine.label_record_hook import LabelRecordHook
from mmsegmentation.engine.long_epoch_sampler import LongEpochSampler
from mmsegmentation.engine.loss_val_loop import LossValLoop
from mmsegmentation.engine.mean_loss_hook import MeanLossHook
from mmsegmentation.engine.metrics_hook import BestMetricsHook
from mmsegmentation.engine.origin_hook import OriginHook
from mmsegmentation.engine.quarantine_hook import QuarantineHook
from mmsegmentation.engine.quiet_runner import QuietRunner
from mmsegmentation.engine.rare_class_infinite_sampler import RareClassInfiniteSampler
from mmsegmentation.engine.rare_class_sampler import RareClassSampler
from mmsegmentation.engine.replace_hook import ReplaceHook
from mmsegmentation.engine.resume_hook import ResumeHook
from mmsegmentation.engine.sample_check_hook import SampleCheckHook
from mmsegmentation.engine.screen_hook import ScreenHook
from mmsegmentation.engine.seeded_infinite_sampler import SeededInfiniteSampler
from mmsegmentation.engine.seeded_sampler import SeededSampler
from mmsegmentation.engine.sharded_strategy import ShardedStrategy
from mmsegmentation.engine.strategy_runner import StrategyRunner
from mmsegmentation.engine.whole_checkpoint_hook import WholeCheckpointHook
from mmsegmentation.engine.wrap_blocks import wrap_blocks

__all__ = [
    'BackboneRateConstructor',
    'BestMetricsHook',
    'Bf16OptimWrapper',
    'ChannelsLastHook',
    'ClassWeightHook',
    'CompileHook',
    'DataOnlyHook',
    'ExactEarlyStoppingHook',
    'ExactEpochLoop',
    'FiniteLossHook',
    'LabelRecordHook',
    'LongEpochSampler',
    'LossValLoop',
    'MeanLossHook',
    'OriginHook',
    'QuarantineHook',
    'QuietRunner',
    'RareClassInfiniteSampler',
    'RareClassSampler',
    'ReplaceHook',
    'ResumeHook',
    'SampleCheckHook',
    'ScreenHook',
    'SeededInfiniteSampler',
    'SeededSampler',
    'ShardedStrategy',
    'StrategyRunner',
    'WholeCheckpointHook',
    'wrap_blocks',
]
