//! Tests of the HTTP/1 parser.

mod calls;
mod heads;
mod properties;
mod rules;
mod script;
mod traffic;
