"""Transfer: whether pretraining pays at gauges that a model never saw, by the number of local gauges to learn from."""
