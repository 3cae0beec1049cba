"""The metrics of a test: those of a config, and ours where none of them scores."""

from mmsegmentation.evaluation.evaluators import choose_metrics


def kinds(metrics):
    return [(metric['type'], metric.get('prefix')) for metric in metrics]


def test_metrics__one_of_them_scores():
    ours = {'type': 'ExactIoUMetric', 'prefix': 'mine'}
    assert kinds(choose_metrics(ours, True)[0]) == [('ExactIoUMetric', 'mine')]
    assert kinds(choose_metrics(None, True)[0]) == [('ExactIoUMetric', None)]


def test_metrics__that_only_write_leave_the_scores_to_ours():
    writer = {'type': 'ExactIoUMetric', 'format_only': True, 'output_dir': 'x'}
    metrics, notes = choose_metrics(writer, True)
    assert kinds(metrics) == [('ExactIoUMetric', None), ('ExactIoUMetric', 'exact')]
    assert not metrics[1].get('format_only')
    assert (choose_metrics(writer, False), notes) == (([writer], []), [])
