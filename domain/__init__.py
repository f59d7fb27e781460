"""What Offshoot is about: nouns, verbs and rules, without a web framework, a queue or a model."""
