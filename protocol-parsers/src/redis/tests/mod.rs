//! Tests of the Redis parser.

mod proofs;
mod rules;
mod score;
