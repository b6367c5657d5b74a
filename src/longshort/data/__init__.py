"""Tables, series, texts and windows: from files to what a network is fed with."""

from longshort.data._audio import as_loud, read_audio, resample
from longshort.data._conll import TaggedSet, read_conll, read_conllu
from longshort.data._frames import check_series
from longshort.data._mel import LogMel, with_slopes
from longshort.data._parallel import ParallelSet, read_parallel
from longshort.data._sequences import (
    SequenceSet,
    Standardizer,
    check_sequences,
    pad_sequences,
    read_sequences,
)
from longshort.data._series import SeriesSet
from longshort.data._sets import load_dataset
from longshort.data._tables import read_table
from longshort.data._text_files import TextSet, read_texts
from longshort.data._varied import varied
from longshort.data._vocabulary import Vocabulary
from longshort.data._wide import wide_to_long

__all__ = [
    "LogMel",
    "ParallelSet",
    "SequenceSet",
    "SeriesSet",
    "Standardizer",
    "TaggedSet",
    "TextSet",
    "Vocabulary",
    "as_loud",
    "check_sequences",
    "check_series",
    "load_dataset",
    "pad_sequences",
    "read_audio",
    "read_conll",
    "read_conllu",
    "read_parallel",
    "read_sequences",
    "read_table",
    "read_texts",
    "resample",
    "varied",
    "wide_to_long",
    "with_slopes",
]
