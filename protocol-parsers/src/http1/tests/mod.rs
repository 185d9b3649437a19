//! Tests of the HTTP/1 parser.

mod heads;
mod properties;
mod rules;
mod script;
mod traffic;
