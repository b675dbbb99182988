"""Faults in neurons that spike with coefficients, as mixins before their class."""


class Spoilt:
    """Each neuron's response at the end of a step is what ``spoil(response, potential, emitted, threshold)`` makes of it."""

    def respond(self, m, potentials, emitted, thresholds):
        found = super().respond(m, potentials, emitted, thresholds)
        return [self.spoil(*neuron) for neuron in zip(found, potentials, emitted, thresholds, strict=True)]


class ThresholdTooLarge:
    """Thresholds are larger by one."""

    def respond(self, m, potentials, emitted, thresholds):
        return super().respond(m, potentials, emitted, [threshold + 1 for threshold in thresholds])
