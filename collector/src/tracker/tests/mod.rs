//! Scripts and properties over the toy protocol.

mod properties;
mod rig;
mod scripts;
mod toy;
