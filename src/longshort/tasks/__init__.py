"""The jobs that people use LSTMs for."""

from longshort.tasks._alignment import Alignment
from longshort.tasks._alignment_plot import plot_alignment
from longshort.tasks._base import Task
from longshort.tasks._conformal import conformal_intervals
from longshort.tasks._explain_plot import plot_explanation
from longshort.tasks._files import load
from longshort.tasks._forecaster import Forecaster
from longshort.tasks._horizon import score_by_horizon
from longshort.tasks._language_model import LanguageModel
from longshort.tasks._plot import plot_by_horizon, plot_forecast
from longshort.tasks._report import write_report
from longshort.tasks._sequence_classifier import SequenceClassifier
from longshort.tasks._tagger import Tagger
from longshort.tasks._text_classifier import TextClassifier
from longshort.tasks._training_plot import plot_training
from longshort.tasks._transcriber import Transcriber
from longshort.tasks._translator import Translator

__all__ = [
    "Alignment",
    "Forecaster",
    "LanguageModel",
    "SequenceClassifier",
    "Tagger",
    "Task",
    "TextClassifier",
    "Transcriber",
    "Translator",
    "conformal_intervals",
    "load",
    "plot_alignment",
    "plot_by_horizon",
    "plot_explanation",
    "plot_forecast",
    "plot_training",
    "score_by_horizon",
    "write_report",
]
