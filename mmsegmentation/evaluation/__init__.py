from mmsegmentation.evaluation.exact_iou import ExactIoUMetric
from mmsegmentation.evaluation.prediction_writer import PredictionWriter

__all__ = ['ExactIoUMetric', 'PredictionWriter']
