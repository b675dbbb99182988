"""Faults in neurons that spike with coefficients, as mixins before their class."""


class Spoilt:
    """Each neuron's response at the end of a step is what ``spoil(response, potential, emitted, threshold)`` makes of it."""

    def respond(self, m, potentials, emitted, thresholds):
        found = super().respond(m, potentials, emitted, thresholds)
        return [self.spoil(*neuron) for neuron in zip(found, potentials, emitted, thresholds, strict=True)]


class BiasTwice:
    """The bias is added twice."""

    def biased(self, m, potentials, biases):
        return super().biased(m, potentials, [2 * bias for bias in biases])


class BiasAtEveryWord(BiasTwice):
    """The bias is added whether the step closes or not."""

    def sum(self, p):
        half = self._parameter_bits // 2
        bias = self.parameters[p * self._parameter_bits + half : (p + 1) * self._parameter_bits].as_signed()
        return super().sum(p) + bias

    def biased(self, m, potentials, biases):
        return potentials


class ThresholdTooLarge:
    """Thresholds are larger by one."""

    def respond(self, m, potentials, emitted, thresholds):
        return super().respond(m, potentials, emitted, [threshold + 1 for threshold in thresholds])
