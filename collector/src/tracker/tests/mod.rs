//! Scripts and properties over the toy protocol.

mod rig;
mod scripts;
mod toy;
