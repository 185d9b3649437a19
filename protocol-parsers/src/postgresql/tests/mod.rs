//! Recorded sessions, rules by rules, and what must hold for all traffic.

mod sessions;
