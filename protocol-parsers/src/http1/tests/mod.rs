//! Tests of the HTTP/1 parser.

mod properties;
mod rules;
mod script;
mod traffic;
