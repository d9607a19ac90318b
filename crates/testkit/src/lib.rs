//! Fake models, a fake orchestrator and a throw-away PostgreSQL for tests
