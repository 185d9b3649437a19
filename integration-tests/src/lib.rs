//! Sidelight's integration-tests.
