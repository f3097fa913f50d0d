"""Methods that keep the accuracy of a model in 8 bits, each of its own use.

`equalisation` and `smoothing` make another float model of the same function, whose channels are
alike. `weight_ranges` and `rounding` find better integers for weights, `bias_correction` takes
their mean error off the biases. `statistics` gathers what these need to know of the activations.
"""
