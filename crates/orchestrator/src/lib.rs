//! The local orchestrator, the model host and the built-in models
