"""A deep belief network of scikit-learn's 8x8 digits: two stacked BernoulliRBMs, trained when first asked for."""

from __future__ import annotations

from nn_lens.engine.maximizing.belief import BeliefNetwork

_HIDDEN = (144, 100)
_EPOCHS = 25
_RATE = 0.06


def trained_digits_belief(seed: int = 0) -> BeliefNetwork:
    """The network, trained layer by layer on the 1,797 digits; some seconds."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import BernoulliRBM

    values = load_digits().data / 16.0
    machines = []
    for hidden in _HIDDEN:
        machine = BernoulliRBM(hidden, learning_rate=_RATE, n_iter=_EPOCHS, batch_size=10, random_state=seed)
        values = machine.fit_transform(values)
        machines.append(machine)
    return BeliefNetwork(machines, (1, 8, 8)).eval()
