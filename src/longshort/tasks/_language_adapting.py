"""Score text by weights that go on learning from it: dynamic evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from longshort.tasks._language_net import LanguageNet
from longshort.tasks._token_loss import as_it_is
from longshort.tasks._training import copy_weights, interruptible
from longshort.tasks._training_steps import training_steps

LENGTH = 32  # tokens that are scored before each step of learning


def adapted_loss(net: LanguageNet, sequences: Iterable[np.ndarray], learning_rate: float) -> float:
    """Return the summed loss of all tokens but the first of each sequence, in nats.

    A part of 32 tokens (at the end of a sequence what is left) is scored, then a step of Adam is
    taken on its loss, and the state carried on to the next part: so each token is predicted by
    those before it alone, but names and habits of the text are learnt while it is read. The net
    itself stays as it is.

    Args:
        net: Where the weights begin.
        sequences: Numbers of tokens, (n_i,), in the order of reading; each begins with a state of
            zeros, and with the weights that the one before it left.
        learning_rate: Of Adam.

    Source: Krause et al. (2018), "Dynamic evaluation of neural sequence models"; their steps are
    scaled by the gradients of the training text, these by those of the text so far.
    """
    from longshort.optimizers import Adam

    without_noise = replace(
        net.plan, dropout=0.0, input_dropout=0.0, embedding_dropout=0.0, weight_drop=0.0
    )
    own = LanguageNet(without_noise)
    own.model.set_weights(copy_weights(net.model))
    model = own.trainer(1, LENGTH)
    optimizer = Adam(learning_rate, beta_2=0.99, global_clipnorm=1.0)
    model.compile(optimizer=optimizer, loss=as_it_is)
    total = 0.0
    with interruptible() as interrupt:
        for ids in sequences:
            own.stack.reset_state(1)
            with training_steps(model) as step:
                for start in range(0, len(ids) - 1, LENGTH):
                    part = ids[start : start + LENGTH + 1]
                    count = len(part) - 1
                    inputs, targets = np.zeros((2, 1, LENGTH), np.int32)  # padding costs nothing
                    inputs[0, :count], targets[0, :count] = part[:-1], part[1:]
                    total += step([inputs, targets], targets) * count
                    interrupt.check()
    return total
