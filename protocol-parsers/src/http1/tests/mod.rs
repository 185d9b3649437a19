//! Tests of the HTTP/1 parser.

mod rules;
mod script;
