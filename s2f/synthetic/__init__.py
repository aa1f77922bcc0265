"""The synthetic world: speakers whose voice and face come from one known causal model."""
